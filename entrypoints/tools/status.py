"""`pipeline status`: where the photos are, how long the oldest waits, what failed lately."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich.console import Group, RenderableType
from rich.live import Live
from rich.text import Text

from application.ports import Overview
from application.values import Backlog, Waiting
from domain.errors import Unavailable
from domain.lifecycle import State
from domain.media import Media
from entrypoints.tools.shared import (
    Desk,
    age,
    coloured,
    desk,
    moment,
    print_json,
    table,
    terminal,
)

RECENT = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """The answers of one moment."""

    backlog: Backlog
    totals: Mapping[State, int]
    recent: Sequence[Media]

    @classmethod
    async def ask(cls, overview: Overview) -> "Status":
        """Raises DatabaseUnavailable."""
        return cls(
            backlog=await overview.backlog(),
            totals=await overview.totals(),
            recent=await overview.failed(code=None, limit=RECENT),
        )


async def run_status(*, watch_seconds: float | None, as_json: bool) -> None:
    """Once, or again and again. Only the first answer must come; later outages are told."""
    async with desk() as work:
        status = await Status.ask(work.overview)
        if as_json:
            print_json(_plain(status))
        if watch_seconds is None:
            if not as_json:
                terminal().print(_drawn(status, work.where))
        elif as_json:
            await _watch_json(work, watch_seconds)
        else:
            await _watch(work, status, watch_seconds)


async def _watch(work: Desk, status: Status, seconds: float) -> None:
    with Live(_drawn(status, work.where), console=terminal(), auto_refresh=False) as live:
        while True:
            await asyncio.sleep(seconds)
            try:
                status = await Status.ask(work.overview)
                live.update(_drawn(status, work.where), refresh=True)
            except Unavailable as error:
                old = Text(f"Not up to date: {error}", style="red")
                live.update(Group(_drawn(status, work.where), old), refresh=True)


async def _watch_json(work: Desk, seconds: float) -> None:
    while True:
        await asyncio.sleep(seconds)
        try:
            print_json(_plain(await Status.ask(work.overview)))
        except Unavailable as error:
            print_json({"error": str(error)})


def _plain(status: Status) -> dict[str, Any]:
    backlog = status.backlog
    return {
        "media": {
            state: {
                "count": status.totals.get(state, 0),
                "oldest_seconds": _oldest(backlog.media.get(state)),
            }
            for state in State
        },
        "outbox": {"due": backlog.outbox.count, "oldest_seconds": _oldest(backlog.outbox)},
        "dead_letters": backlog.dead_letters,
        "sent_again": backlog.requeued,
        "recent_failures": [
            {
                "media_id": media.id,
                "failed_at": media.updated_at,
                "code": media.failure.code,
                "detail": media.failure.detail,
            }
            for media in status.recent
            if media.failure is not None
        ],
    }


def _oldest(waiting: Waiting | None) -> float | None:
    return waiting.oldest_seconds if waiting is not None and waiting.count else None


def _drawn(status: Status, where: str) -> RenderableType:
    backlog = status.backlog
    photos = table("state", "photos", "oldest", title=f"Photos ({where})")
    for state in State:
        oldest = _oldest(backlog.media.get(state))
        photos.row(coloured(state), f"{status.totals.get(state, 0):,}", _age(oldest))
    messages = table("waiting", "messages", "oldest", title="Messages")
    messages.row("outbox, due", f"{backlog.outbox.count:,}", _age(_oldest(backlog.outbox)))
    messages.row("presumed lost, sent again", f"{backlog.requeued:,}", "")
    messages.row("dead letters, not settled", f"{backlog.dead_letters:,}", "")
    return Group(photos, messages, _recent(status.recent))


def _age(seconds: float | None) -> str:
    return "" if seconds is None else age(seconds)


def _recent(recent: Sequence[Media]) -> RenderableType:
    if not recent:
        return Text("No photo has failed.", style="green")
    rows = table("media", "failed (UTC)", "code", "detail", title="Latest failures")
    for media in recent:
        if media.failure is not None:
            failure = media.failure
            rows.row(media.id, moment(media.updated_at), failure.code, failure.detail)
    return rows
