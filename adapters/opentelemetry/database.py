"""Watches transactions from outside: what they changed is told once the commit has succeeded."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import AbstractContextManager, asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime

from opentelemetry import trace
from opentelemetry.trace import Span, SpanKind

from adapters.opentelemetry.metrics import Metrics
from adapters.opentelemetry.stopwatch import Stopwatch
from adapters.opentelemetry.telling import Committed, Teller, claim_id
from adapters.opentelemetry.tracing import Tracing
from application.messages import ProcessRequest
from application.ports import Database, DeadLetters, MediaRepository, UnitOfWork
from application.values import DeadLetter, Due
from domain.lifecycle import State
from domain.media import Media


@dataclass(slots=True)
class _Seen:
    """What a transaction has read and written so far."""

    before: dict[str, Media | None] = field(default_factory=dict[str, Media | None])
    after: dict[str, Media] = field(default_factory=dict[str, Media])
    letters: list[DeadLetter] = field(default_factory=list[DeadLetter])

    def take(self) -> Committed:
        """What the commit has made durable; it is the starting point of what may follow."""
        pairs = [(self.before.get(media.id), media) for media in self.after.values()]
        done = Committed(pairs, list(self.letters))
        self.before.update(self.after)
        self.after.clear()
        self.letters.clear()
        return done

    def claim(self) -> Media | None:
        """The media that this transaction claims for a worker."""
        for media in self.after.values():
            before = self.before.get(media.id)
            if before is not None and media.state is State.PROCESSING:
                return media if media.lease_token != before.lease_token else None
        return None


class ObservedDatabase(Database):
    """Emits, for each media that a commit has moved: one line, and the metrics that follow.

    A commit whose answer was lost is not told, even if it happened. `system` names the database
    in spans as the semantic conventions do (`postgresql`, `sqlite`).
    """

    def __init__(
        self, inner: Database, metrics: Metrics, tracing: Tracing, *, system: str = "postgresql"
    ) -> None:
        self._inner = inner
        self._teller = Teller(metrics)
        self._tracing = tracing
        self._system = system

    @asynccontextmanager
    async def begin(self) -> AsyncGenerator[UnitOfWork]:
        async with self._inner.begin() as uow:
            yield ObservedUnitOfWork(uow, self._teller, self._tracing, self._system)


class ObservedUnitOfWork(UnitOfWork):
    """One transaction of an `ObservedDatabase`."""

    def __init__(self, inner: UnitOfWork, teller: Teller, tracing: Tracing, system: str) -> None:
        self._inner = inner
        self._teller = teller
        self._tracing = tracing
        self._system = system
        self._seen = _Seen()
        self._media = _ObservedMedia(inner.media, self._seen)
        self._dead_letters = _ObservedDeadLetters(inner.dead_letters, self._seen)

    @property
    def media(self) -> MediaRepository:
        return self._media

    @property
    def dead_letters(self) -> DeadLetters:
        return self._dead_letters

    @property
    def now(self) -> datetime:
        return self._inner.now

    async def enqueue(self, request: ProcessRequest, *, delay_seconds: float = 0.0) -> None:
        with self._span("outbox append", "INSERT"):
            await self._inner.enqueue(request, delay_seconds=delay_seconds)

    async def commit(self) -> None:
        span, watch = trace.get_current_span(), Stopwatch()
        claim = self._seen.claim()
        span_id = claim_id(span, claim) if claim else None
        with self._span("commit", "COMMIT", span_id):
            await self._inner.commit()
        self._teller.tell(self._seen.take(), watch.seconds, span)

    def _span(
        self, name: str, operation: str, span_id: int | None = None
    ) -> AbstractContextManager[Span]:
        attributes = {"db.system.name": self._system, "db.operation.name": operation}
        return self._tracing.span(name, attributes, kind=SpanKind.CLIENT, span_id=span_id)


class _ObservedMedia(MediaRepository):
    """Remembers what the transaction has read first and written last."""

    def __init__(self, inner: MediaRepository, seen: "_Seen") -> None:
        self._inner = inner
        self._seen = seen

    async def add(self, media: Media) -> None:
        await self._inner.add(media)
        self._seen.before[media.id] = None
        self._seen.after[media.id] = media

    async def get(self, media_id: str, *, lock: bool = False) -> Media | None:
        media = await self._inner.get(media_id, lock=lock)
        if media_id not in self._seen.after:
            self._seen.before[media_id] = media
        return media

    async def save(self, media: Media) -> None:
        await self._inner.save(media)
        self._seen.after[media.id] = media

    async def due(
        self, states: frozenset[State], *, limit: int, after: Due | None = None
    ) -> Sequence[Due]:
        return await self._inner.due(states, limit=limit, after=after)


class _ObservedDeadLetters(DeadLetters):
    """Remembers the letters that are new: a redelivered one is kept, and counted, once."""

    def __init__(self, inner: DeadLetters, seen: "_Seen") -> None:
        self._inner = inner
        self._seen = seen

    async def keep(self, letter: DeadLetter) -> None:
        is_new = await self._inner.get(letter.id) is None
        await self._inner.keep(letter)
        if is_new:
            self._seen.letters.append(letter)

    async def get(self, letter_id: str) -> DeadLetter | None:
        return await self._inner.get(letter_id)

    async def list(self, *, limit: int) -> Sequence[DeadLetter]:
        return await self._inner.list(limit=limit)

    async def mark_replayed(self, letter_id: str) -> None:
        await self._inner.mark_replayed(letter_id)

    async def mark_dismissed(self, letter_id: str) -> None:
        await self._inner.mark_dismissed(letter_id)
