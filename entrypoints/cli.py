"""`pipeline COMMAND`: every process and every tool of the product.

Exit codes: 0 done, 1 failed, 2 a setting or an argument is wrong.
"""

import argparse
import asyncio
import sys
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from domain.errors import InvalidConfiguration, PipelineError
from entrypoints.settings import Role, Settings, load

Run = Callable[[Settings], Coroutine[Any, Any, None]]


def main(arguments: Sequence[str] | None = None) -> None:
    """The `pipeline` command."""
    options = _parser().parse_args(arguments)
    try:
        _run(Role(options.command))
    except InvalidConfiguration as error:
        for problem in error.problems:
            print(problem, file=sys.stderr)  # noqa: T201 - a command line speaks to people
        sys.exit(2)
    except PipelineError as error:
        print(f"pipeline {options.command}: {error}", file=sys.stderr)  # noqa: T201 - as above
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="pipeline", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for role, meaning in _MEANINGS.items():
        commands.add_parser(role.value, help=meaning, description=meaning)
    return parser


_MEANINGS = {
    Role.API: "serve the HTTP API",
    Role.WORKER: "process photos",
    Role.DISPATCHER: "relay the outbox, recover and expire what is overdue",
    Role.MIGRATE: "prepare database, queues and bucket; safe to repeat",
    Role.EMBEDDED: "all of it in one process, on SQLite and files",
}


def _run(role: Role) -> None:
    settings = load(role)
    with asyncio.Runner(loop_factory=_new_loop) as runner:
        runner.run(_process(role)(settings))


def _process(role: Role) -> Run:
    from entrypoints import processes
    from entrypoints.migrate import run_migrate

    runs: dict[Role, Run] = {
        Role.API: processes.run_api,
        Role.WORKER: processes.run_worker,
        Role.DISPATCHER: processes.run_dispatcher,
        Role.EMBEDDED: processes.run_embedded,
        Role.MIGRATE: run_migrate,
    }
    return runs[role]


def _new_loop() -> asyncio.AbstractEventLoop:
    """Uvloop where it is installed: about a quarter less CPU for the protocol's part."""
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()
