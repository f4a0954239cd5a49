"""The arguments of every tool. What a tool needs is imported when it runs."""

import argparse
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, Protocol

from domain.failure import ONLY_OF_ATTEMPTS, FailureCode

Run = Callable[[argparse.Namespace], Coroutine[Any, Any, None]]


class Commands(Protocol):
    """What `add_subparsers` returns; its class has no public name."""

    def add_parser(self, name: str, *, help: str) -> argparse.ArgumentParser: ...  # noqa: A002


WHICH_SET = (
    "Works on the production set if one of its servers is named in the environment "
    "(DATABASE_URL and so on), else on the embedded pipeline in DATA_DIR."
)
# A photo never ends with one of the others.
CODES = tuple(code.value for code in FailureCode if code not in ONLY_OF_ATTEMPTS)


def add_tools(commands: Commands) -> None:
    """Every tool of this package as a command."""
    _add_dead_letters(commands)
    _add_media(commands)
    _add_status(commands)
    _add_upload(commands)
    _add_doctor(commands)


def _add_dead_letters(commands: Commands) -> None:
    group = _group(commands, "dead-letters", "messages that could not be handled, and their photos")
    listing = _tool(group, "list", "the kept copies, newest first", _dead_letters("list_letters"))
    _add_limit(listing, 50)
    show = _tool(group, "show", "one of them", _dead_letters("show_letter"))
    show.add_argument("id", metavar="ID")
    dismiss = _tool(
        group, "dismiss", "put one aside that will not be replayed", _dead_letters("dismiss")
    )
    dismiss.add_argument("id", metavar="ID")
    replay = _tool(
        group,
        "replay",
        "give the photo of a dead letter, or all FAILED photos of a code, another go",
        _dead_letters("replay"),
    )
    which = replay.add_mutually_exclusive_group(required=True)
    which.add_argument("id", metavar="ID", nargs="?", help="of the dead letter")
    which.add_argument("--code", choices=CODES, metavar="CODE", help=f"one of {', '.join(CODES)}")
    _add_limit(replay, 1000)
    _add_dry_run(replay)


def _add_media(commands: Commands) -> None:
    group = _group(commands, "media", "look at photos, give failed ones another go")
    show = _tool(group, "show", "all that is known of a photo", _media("show"))
    show.add_argument("id", metavar="ID")
    failed = _tool(group, "failed", "photos that FAILED, the latest first", _media("list_failed"))
    failed.add_argument("--code", choices=CODES, metavar="CODE", help="of this failure code only")
    _add_limit(failed, 50)
    requeue = _tool(group, "requeue", "give a FAILED photo another go", _media("requeue"))
    requeue.add_argument("id", metavar="ID")
    _add_dry_run(requeue)


def _add_status(commands: Commands) -> None:
    status = _tool(commands, "status", "photos by state, oldest ages, outbox, failures", _status)
    status.add_argument(
        "--watch",
        nargs="?",
        type=_seconds,
        const=2.0,
        metavar="SECONDS",
        help="again and again (every 2 seconds), until Ctrl-C",
    )


def _add_upload(commands: Commands) -> None:
    upload = commands.add_parser("upload", help="send photos through the API, wait for them")
    upload.description = "Sends photos through the API; ends with 1 if one of them is not READY."
    upload.add_argument("files", metavar="FILE", nargs="+", type=Path)
    upload.add_argument(
        "--url", type=_url, default="http://localhost:8080", help="of the API (%(default)s)"
    )
    upload.add_argument(
        "--parallel", type=_count, default=4, metavar="N", help="photos at once (%(default)s)"
    )
    upload.add_argument(
        "--timeout",
        type=_seconds,
        default=300.0,
        metavar="SECONDS",
        help="how long to wait for one photo (%(default)s)",
    )
    _finish(upload, _upload)


def _add_doctor(commands: Commands) -> None:
    _tool(commands, "doctor", "try what a client and a worker do, say what is wrong", _doctor)


# --- what they share -------------------------------------------------------------------------


def _group(commands: Commands, name: str, meaning: str) -> Commands:
    parser = commands.add_parser(name, help=meaning)
    parser.description = f"{meaning.capitalize()}."
    return parser.add_subparsers(dest="action", required=True, metavar="ACTION")


def _tool(commands: Commands, name: str, meaning: str, run: Run) -> argparse.ArgumentParser:
    parser = commands.add_parser(name, help=meaning)
    parser.description = f"{meaning[0].upper()}{meaning[1:]}. {WHICH_SET}"
    return _finish(parser, run)


def _finish(parser: argparse.ArgumentParser, run: Run) -> argparse.ArgumentParser:
    parser.add_argument("--json", action="store_true", help="for scripts")
    parser.set_defaults(run=run)
    return parser


def _add_dry_run(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--dry-run", action="store_true", help="say what would happen, do nothing")


def _add_limit(parser: argparse.ArgumentParser, default: int) -> None:
    parser.add_argument(
        "--limit", type=_count, default=default, metavar="N", help="at most so many (%(default)s)"
    )


def _count(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be 1 or more")
    return number


def _url(text: str) -> str:
    if not text.startswith(("http://", "https://")):
        raise argparse.ArgumentTypeError("must start with http:// or https://")
    return text


def _seconds(text: str) -> float:
    number = float(text)
    if not 0 < number < float("inf"):
        raise argparse.ArgumentTypeError("must be above 0")
    return number


# --- where they are --------------------------------------------------------------------------


def _dead_letters(action: str) -> Run:
    async def run(options: argparse.Namespace) -> None:
        from entrypoints.tools import dead_letters

        await dead_letters.ACTIONS[action](options)

    return run


def _media(action: str) -> Run:
    async def run(options: argparse.Namespace) -> None:
        from entrypoints.tools import media

        await media.ACTIONS[action](options)

    return run


async def _status(options: argparse.Namespace) -> None:
    from entrypoints.tools.status import run_status

    await run_status(watch_seconds=options.watch, as_json=options.json)


async def _upload(options: argparse.Namespace) -> None:
    from entrypoints.tools.upload import run_upload

    await run_upload(
        options.files,
        url=options.url,
        parallel=options.parallel,
        timeout_seconds=options.timeout,
        as_json=options.json,
    )


async def _doctor(options: argparse.Namespace) -> None:
    from entrypoints.tools.doctor import run_doctor

    await run_doctor(as_json=options.json)
