"""`pipeline COMMAND`: every process and every tool of the product.

Exit codes: 0 done, 1 failed, 2 a setting or an argument is wrong.
"""

import argparse
import asyncio
import sys
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any

from domain.errors import InvalidConfiguration, PipelineError
from entrypoints.settings import Role, load
from entrypoints.tools.parsers import add_tools

Command = Callable[[argparse.Namespace], Coroutine[Any, Any, None]]


def main(arguments: Sequence[str] | None = None) -> None:
    """The `pipeline` command."""
    options = _parser().parse_args(arguments)
    try:
        with asyncio.Runner(loop_factory=_new_loop) as runner:
            runner.run(options.run(options))
    except InvalidConfiguration as error:
        for problem in error.problems:
            print(problem, file=sys.stderr)
        sys.exit(2)
    except PipelineError as error:
        print(f"pipeline {options.command}: {error}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="pipeline", description="A crash-safe image pipeline.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, (meaning, run) in _PROCESSES.items():
        command = commands.add_parser(name, help=meaning, description=meaning)
        command.set_defaults(run=run)
    demo = commands.add_parser("demo", help="send one photo through an embedded pipeline")
    demo.add_argument("photo", nargs="?", type=Path, help="your own; else one drawn in code")
    demo.set_defaults(run=_demo)
    add_tools(commands)
    return parser


async def _api(_: argparse.Namespace) -> None:
    from entrypoints.processes import run_api

    await run_api(load(Role.API))


async def _worker(_: argparse.Namespace) -> None:
    from entrypoints.processes import run_worker

    await run_worker(load(Role.WORKER))


async def _dispatcher(_: argparse.Namespace) -> None:
    from entrypoints.processes import run_dispatcher

    await run_dispatcher(load(Role.DISPATCHER))


async def _embedded(_: argparse.Namespace) -> None:
    from entrypoints.processes import run_embedded

    await run_embedded(load(Role.EMBEDDED))


async def _migrate(_: argparse.Namespace) -> None:
    from entrypoints.migrate import run_migrate

    await run_migrate(load(Role.MIGRATE))


async def _demo(options: argparse.Namespace) -> None:
    from entrypoints.demo import run_demo

    await run_demo(options.photo)


_PROCESSES: dict[str, tuple[str, Command]] = {
    "api": ("serve the HTTP API", _api),
    "worker": ("process photos", _worker),
    "dispatcher": ("relay the outbox, recover and expire what is overdue", _dispatcher),
    "migrate": ("prepare database, queues and bucket; safe to repeat", _migrate),
    "embedded": ("all of it in one process, on SQLite and files", _embedded),
}


def _new_loop() -> asyncio.AbstractEventLoop:
    """Uvloop where it is installed; the standard loop elsewhere."""
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()


if __name__ == "__main__":
    main()
