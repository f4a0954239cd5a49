"""A database in memory: a snapshot on entering, a swap on commit, a conflict if too late.

Nothing blocks: where a real database makes others wait for a row lock, this one lets them go on
and refuses the later commit. Both keep the promise of `MediaRepository.get(lock=True)`.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from application.messages import ProcessRequest
from application.ports import (
    Database,
    DeadLetters,
    Dependency,
    MediaRepository,
    OutboxHint,
    OutboxRelay,
    Overview,
    UnitOfWork,
)
from application.values import Backlog, DeadLetter, Due, OutboxRow, Waiting
from domain.errors import VersionConflict
from domain.failure import FailureCode
from domain.lifecycle import CLAIMABLE, TERMINAL, State
from domain.media import Media

Clock = Callable[[], datetime]


@dataclass(slots=True)
class OutboxEntry:
    """A stored outbox row and what relays know of it."""

    row: OutboxRow
    held_until: datetime | None = None
    published_at: datetime | None = None


@dataclass(slots=True)
class Tables:
    """What is durable. Values are immutable, so a shallow copy of a table is a snapshot."""

    media: dict[str, Media] = field(default_factory=dict[str, Media])
    state_since: dict[str, datetime] = field(default_factory=dict[str, datetime])
    outbox: dict[int, OutboxEntry] = field(default_factory=dict[int, OutboxEntry])
    dead_letters: dict[str, DeadLetter] = field(default_factory=dict[str, DeadLetter])
    next_outbox_id: int = 1


class MemoryDatabase(Database, Dependency):
    """All the database ports over one set of tables."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.tables = Tables()
        self.open_transactions = 0
        self.hint = MemoryHint()
        self.relay = MemoryRelay(self)
        self.overview = MemoryOverview(self)

    @asynccontextmanager
    async def begin(self) -> AsyncGenerator["MemoryUnitOfWork"]:
        await asyncio.sleep(0)
        self.open_transactions += 1
        try:
            yield MemoryUnitOfWork(self)
        finally:
            self.open_transactions -= 1

    @property
    def name(self) -> str:
        return "database"

    async def check(self) -> None:
        """Memory is always there."""


class MemoryUnitOfWork(UnitOfWork):
    """Reads from its snapshot, collects its writes, checks what it locked when it commits."""

    def __init__(self, database: MemoryDatabase) -> None:
        self._database = database
        self._now = database.clock()
        self.snapshot = dict(database.tables.media)
        self.locked: dict[str, int | None] = {}
        self.written: dict[str, Media] = {}
        self._enqueued: list[tuple[ProcessRequest, datetime]] = []
        self._media = MemoryMedia(self)
        self._dead_letters = MemoryDeadLetters(dict(database.tables.dead_letters), self._now)

    @property
    def media(self) -> "MemoryMedia":
        return self._media

    @property
    def dead_letters(self) -> "MemoryDeadLetters":
        return self._dead_letters

    @property
    def now(self) -> datetime:
        return self._now

    async def enqueue(self, request: ProcessRequest, *, delay_seconds: float = 0.0) -> None:
        self._enqueued.append((request, self._now + timedelta(seconds=delay_seconds)))

    async def commit(self) -> None:
        """Everything from here to the end happens without a pause, so it is atomic."""
        await asyncio.sleep(0)
        tables = self._database.tables
        for media_id, version in self.locked.items():
            stored = tables.media.get(media_id)
            if (stored.version if stored else None) != version:
                raise VersionConflict(media_id)
        for media in self.written.values():
            stored = tables.media.get(media.id)
            if stored is None or stored.state is not media.state:
                tables.state_since[media.id] = media.updated_at
        tables.media.update(self.written)
        for letter in self._dead_letters.written.values():
            # A copy that somebody else has kept meanwhile stays as it is.
            if not letter.is_open or letter.id not in tables.dead_letters:
                tables.dead_letters[letter.id] = letter
        for request, due in self._enqueued:
            row = OutboxRow(tables.next_outbox_id, request, due)
            tables.outbox[row.id] = OutboxEntry(row)
            tables.next_outbox_id += 1
        if self._enqueued:
            self._database.hint.notify()


class MemoryMedia(MediaRepository):
    def __init__(self, uow: MemoryUnitOfWork) -> None:
        self._uow = uow

    async def add(self, media: Media) -> None:
        self._uow.locked[media.id] = None
        self._uow.written[media.id] = media

    async def get(self, media_id: str, *, lock: bool = False) -> Media | None:
        await asyncio.sleep(0)
        media = self._uow.written.get(media_id) or self._uow.snapshot.get(media_id)
        if lock and media_id not in self._uow.written:
            self._uow.locked[media_id] = media.version if media else None
        return media

    async def save(self, media: Media) -> None:
        assert media.id in self._uow.locked, "save what was read with lock=True"
        self._uow.written[media.id] = media

    async def due(
        self, states: frozenset[State], *, limit: int, after: Due | None = None
    ) -> Sequence[Due]:
        await asyncio.sleep(0)
        found = [
            Due(media.deadline_at, media.id)
            for media in {**self._uow.snapshot, **self._uow.written}.values()
            if media.state in states
            and media.deadline_at is not None
            and media.deadline_at <= self._uow.now
        ]
        return sorted(due for due in found if after is None or due > after)[:limit]


class MemoryDeadLetters(DeadLetters):
    def __init__(self, snapshot: dict[str, DeadLetter], now: datetime) -> None:
        self._letters = snapshot
        self._now = now
        self.written: dict[str, DeadLetter] = {}

    async def keep(self, letter: DeadLetter) -> None:
        if letter.id not in self._letters:
            self._put(letter)

    async def get(self, letter_id: str) -> DeadLetter | None:
        return self._letters.get(letter_id)

    async def list(self, *, limit: int) -> Sequence[DeadLetter]:
        newest_first = sorted(
            self._letters.values(), key=lambda one: (one.received_at, one.id), reverse=True
        )
        return newest_first[:limit]

    async def mark_replayed(self, letter_id: str) -> None:
        self._put(replace(self._letters[letter_id], replayed_at=self._now))

    async def mark_dismissed(self, letter_id: str) -> None:
        self._put(replace(self._letters[letter_id], dismissed_at=self._now))

    def _put(self, letter: DeadLetter) -> None:
        self._letters[letter.id] = self.written[letter.id] = letter


class MemoryRelay(OutboxRelay):
    def __init__(self, database: MemoryDatabase) -> None:
        self._database = database

    async def claim(self, *, limit: int, hold_seconds: float) -> Sequence[OutboxRow]:
        await asyncio.sleep(0)
        now = self._database.clock()
        due = [
            entry
            for entry in self._database.tables.outbox.values()
            if entry.published_at is None
            and entry.row.available_at <= now
            and (entry.held_until is None or entry.held_until <= now)
        ]
        due.sort(key=lambda entry: (entry.row.available_at, entry.row.id))
        for entry in due[:limit]:
            entry.held_until = now + timedelta(seconds=hold_seconds)
        return [entry.row for entry in due[:limit]]

    async def mark_published(self, ids: Sequence[int]) -> None:
        await asyncio.sleep(0)
        for row_id in ids:
            entry = self._database.tables.outbox.get(row_id)
            if entry is not None and entry.published_at is None:
                entry.published_at = self._database.clock()

    async def release(self, ids: Sequence[int]) -> None:
        await asyncio.sleep(0)
        for row_id in ids:
            entry = self._database.tables.outbox.get(row_id)
            if entry is not None:
                entry.held_until = None

    async def prune(self, *, older_than_seconds: float, limit: int) -> int:
        await asyncio.sleep(0)
        horizon = self._database.clock() - timedelta(seconds=older_than_seconds)
        old = [
            entry.row.id
            for entry in self._database.tables.outbox.values()
            if entry.published_at is not None and entry.published_at <= horizon
        ][:limit]
        for row_id in old:
            del self._database.tables.outbox[row_id]
        return len(old)


class MemoryHint(OutboxHint):
    def __init__(self) -> None:
        self._committed = asyncio.Event()

    def notify(self) -> None:
        self._committed.set()

    async def wait(self, timeout_seconds: float) -> None:
        try:
            async with asyncio.timeout(timeout_seconds):
                await self._committed.wait()
        except TimeoutError:
            return
        self._committed.clear()


class MemoryOverview(Overview):
    def __init__(self, database: MemoryDatabase) -> None:
        self._database = database

    async def backlog(self) -> Backlog:
        await asyncio.sleep(0)
        tables, now = self._database.tables, self._database.clock()
        since: dict[State, list[datetime]] = {}
        for media in tables.media.values():
            if media.state not in TERMINAL:
                since.setdefault(media.state, []).append(tables.state_since[media.id])
        due = [
            entry.row.available_at
            for entry in tables.outbox.values()
            if entry.published_at is None and entry.row.available_at <= now
        ]
        return Backlog(
            media={state: _waiting(times, now) for state, times in since.items()},
            outbox=_waiting(due, now),
            requeued=sum(
                media.requeues > 0 and media.state in CLAIMABLE and not media.is_overdue(now)
                for media in tables.media.values()
            ),
            dead_letters=sum(letter.is_open for letter in tables.dead_letters.values()),
        )

    async def totals(self) -> Mapping[State, int]:
        await asyncio.sleep(0)
        counts: dict[State, int] = {}
        for media in self._database.tables.media.values():
            counts[media.state] = counts.get(media.state, 0) + 1
        return counts

    async def failed(self, *, code: FailureCode | None, limit: int) -> Sequence[Media]:
        await asyncio.sleep(0)
        found = [
            media
            for media in self._database.tables.media.values()
            if media.failure is not None and (code is None or media.failure.code is code)
        ]
        found.sort(key=lambda media: (media.updated_at, media.id), reverse=True)
        return found[:limit]


def _waiting(times: Sequence[datetime], now: datetime) -> Waiting:
    oldest = max(0.0, (now - min(times)).total_seconds()) if times else 0.0
    return Waiting(len(times), oldest)
