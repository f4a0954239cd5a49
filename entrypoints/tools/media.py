"""`pipeline media`: look at photos, give failed ones another go."""

import argparse
from collections.abc import Callable, Coroutine
from typing import Any

import msgspec
from rich.console import Console

from application.get_media import GetMedia
from application.messages import trace_id_of
from domain.failure import FailureCode
from domain.media import Media
from entrypoints.tools.replaying import log_replay, tell_replays
from entrypoints.tools.shared import (
    coloured,
    desk,
    moment,
    print_json,
    table,
    terminal,
)


async def _show(options: argparse.Namespace) -> None:
    """Raises MediaNotFound."""
    async with desk() as work:
        media = await GetMedia(database=work.database)(options.id)
    if options.json:
        print_json(_plain(media))
    else:
        _print(terminal(), media)


async def _list_failed(options: argparse.Namespace) -> None:
    code = FailureCode(options.code) if options.code else None
    async with desk() as work:
        found = await work.overview.failed(code=code, limit=options.limit)
    if options.json:
        print_json([_plain(media) for media in found])
        return
    rows = table("media", "failed (UTC)", "code", "worth a replay", "detail")
    for media in found:
        failure = media.failure
        if failure is not None:
            again = "yes" if failure.retryable else "no"
            rows.row(media.id, moment(media.updated_at), failure.code, again, failure.detail)
    of_code = f" with {code}" if code else ""
    terminal().print(rows if found else f"No photo is FAILED{of_code}.")


async def _requeue(options: argparse.Namespace) -> None:
    """Raises MediaNotFound."""
    async with desk() as work:
        done = await work.reprocess()(options.id, dry_run=options.dry_run)
    log_replay(done, dry_run=options.dry_run)
    tell_replays([done], dry_run=options.dry_run, as_json=options.json)


def _plain(media: Media) -> dict[str, Any]:
    plain: dict[str, Any] = msgspec.to_builtins(media)
    return plain | {"trace_id": trace_id_of(media.traceparent)}


def _print(console: Console, media: Media) -> None:
    facts = table("media", media.id)
    facts.row("state", coloured(media.state))
    for name, value in _facts(media):
        if value:
            facts.row(name, str(value))
    console.print(facts)
    if media.attempts:
        console.print(_attempts(media))
    if media.variants:
        rows = table("variant", "size", "bytes", "type", "key")
        for one in media.variants:
            size = f"{one.width} x {one.height}"
            rows.row(one.name, size, f"{one.bytes:,}", one.content_type, one.key)
        console.print(rows)


def _facts(media: Media) -> list[tuple[str, object]]:
    failure, original = media.failure, media.original
    return [
        ("failure", failure and f"{failure.code}: {failure.detail}"),
        ("file name", media.file_name),
        ("original", f"{media.original_key}, {media.content_type}"),
        ("bytes", f"{media.original_bytes:,}" if media.original_bytes is not None else None),
        ("picture", original and f"{original.format}, {original.width} x {original.height}"),
        ("created", moment(media.created_at)),
        ("completed", moment(media.completed_at)),
        ("updated", moment(media.updated_at)),
        ("attempts charged", media.attempt),
        ("leases lost", media.lost_leases),
        ("sent again", media.requeues),
        ("worker", media.worker_id),
        ("next attempt", moment(media.next_attempt_at)),
        ("looked at again", moment(media.deadline_at)),
        ("trace", trace_id_of(media.traceparent)),
    ]


def _attempts(media: Media) -> Any:
    rows = table("#", "worker", "started (UTC)", "seconds", "outcome", "reason")
    for one in media.attempts:
        ended = one.finished_at
        seconds = f"{(ended - one.started_at).total_seconds():.2f}" if ended else "-"
        reason = f"{one.error_code}: {one.detail}" if one.error_code else ""
        outcome = one.outcome or "under way"
        started = moment(one.started_at)
        rows.row(str(one.number), one.worker_id, started, seconds, outcome, reason)
    return rows


ACTIONS: dict[str, Callable[[argparse.Namespace], Coroutine[Any, Any, None]]] = {
    "show": _show,
    "list_failed": _list_failed,
    "requeue": _requeue,
}
