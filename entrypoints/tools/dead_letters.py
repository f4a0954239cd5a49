"""`pipeline dead-letters`: the kept copies of messages that could not be handled."""

import argparse
from collections.abc import Callable, Coroutine
from typing import Any

from adapters.events import get_logger
from application.dismiss_letter import DismissLetter
from application.replay_failures import ReplayFailures
from application.reprocess_media import Reprocessed
from application.values import DeadLetter
from domain.errors import LetterNotFound
from domain.failure import FailureCode
from entrypoints.tools.replaying import log_replay, tell_replays
from entrypoints.tools.shared import (
    Desk,
    desk,
    moment,
    print_json,
    printable,
    table,
    terminal,
)

log = get_logger(__name__)


async def _list(options: argparse.Namespace) -> None:
    async with desk() as work, work.database.begin() as uow:
        letters = await uow.dead_letters.list(limit=options.limit)
    if options.json:
        print_json([_plain(letter) for letter in letters])
        return
    rows = table("id", "received (UTC)", "reason", "media", "settled (UTC)")
    for letter in letters:
        rows.row(
            letter.id,
            moment(letter.received_at),
            letter.reason,
            letter.media_id or "unreadable",
            _settled(letter),
        )
    terminal().print(rows if letters else "There are no dead letters.")


async def _show(options: argparse.Namespace) -> None:
    async with desk() as work, work.database.begin() as uow:
        letter = await uow.dead_letters.get(options.id)
    if letter is None:
        raise LetterNotFound(options.id)
    plain = _plain(letter)
    if options.json:
        print_json(plain)
        return
    for name, value in plain.items():
        shown = "-" if value is None else printable(str(value))
        terminal().print(f"{name:12} {shown}", soft_wrap=True)


async def _replay(options: argparse.Namespace) -> None:
    """One letter's photo, or every FAILED photo of a code, whether a letter was the reason or not.

    Raises LetterNotFound, or MediaNotFound if the letter names no photo of ours.
    """
    async with desk() as work:
        if options.id is None:
            await _replay_code(work, options)
            return
        done = await work.reprocess().dead_letter(options.id, dry_run=options.dry_run)
    log_replay(done, dry_run=options.dry_run, letter_id=options.id)
    tell_replays([done], dry_run=options.dry_run, as_json=options.json)


async def _dismiss(options: argparse.Namespace) -> None:
    """Raises LetterNotFound."""
    async with desk() as work:
        done = await DismissLetter(database=work.database)(options.id)
    letter = done.letter
    event = "dead_letter_dismissed" if done.moved else "dead_letter_not_dismissed"
    log.info(event, letter_id=letter.id, media_id=letter.media_id, reason=letter.reason)
    if options.json:
        print_json({"id": letter.id, "dismissed": done.moved})
    elif done.moved:
        terminal().print(f"{letter.id} is dismissed; its copy is kept.", soft_wrap=True)
    else:
        terminal().print(f"{letter.id} was {_settled(letter)}: nothing to do.", soft_wrap=True)


async def _replay_code(work: Desk, options: argparse.Namespace) -> None:
    replay = ReplayFailures(
        database=work.database, overview=work.overview, reprocess=work.reprocess()
    )
    code, dry_run = FailureCode(options.code), options.dry_run
    done: list[Reprocessed] = []
    async for one in replay(code, limit=options.limit, dry_run=dry_run):
        log_replay(one, dry_run=dry_run, code=code.value)
        done.append(one)
    tell_replays(done, dry_run=dry_run, as_json=options.json)
    if not options.json:
        terminal().print(_summary(len(done), code, options.limit))


def _summary(count: int, code: FailureCode, limit: int) -> str:
    if count == 0:
        return f"No photo is FAILED with {code}: nothing to do."
    more = " That is the limit: there may be more, run it again." if count == limit else ""
    photos = "1 photo was" if count == 1 else f"{count} photos were"
    return f"{photos} FAILED with {code}.{more}"


def _settled(letter: DeadLetter) -> str:
    if letter.replayed_at is not None:
        return f"replayed {moment(letter.replayed_at)}"
    return f"dismissed {moment(letter.dismissed_at)}" if letter.dismissed_at else "no"


def _plain(letter: DeadLetter) -> dict[str, Any]:
    return {
        "id": letter.id,
        "received_at": letter.received_at,
        "reason": letter.reason,
        "media_id": letter.media_id,
        "replayed_at": letter.replayed_at,
        "dismissed_at": letter.dismissed_at,
        "body": letter.body.decode("utf-8", "backslashreplace"),
    }


ACTIONS: dict[str, Callable[[argparse.Namespace], Coroutine[Any, Any, None]]] = {
    "list_letters": _list,
    "show_letter": _show,
    "replay": _replay,
    "dismiss": _dismiss,
}
