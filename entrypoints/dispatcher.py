"""The dispatcher: relays the outbox and looks after every deadline. Any number may run."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from application.expire_uploads import ExpireUploads
from application.ports import Broker, Ids, OutboxHint, OutboxRelay, Queue
from application.record_dead_letters import RecordDeadLetters
from application.recover_leases import RecoverLeases
from application.relay_outbox import RelayOutbox
from application.requeue_silent import RequeueSilent
from application.sweep_objects import SweepObjects
from entrypoints.loops import Loop, run_loop

RELAY_POLL_SECONDS = 1.0
RELAY_FINISH_SECONDS = 1.5
PRUNE_AFTER_SECONDS = 3600.0
PRUNE_BATCH = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class DispatcherParts:
    """The use cases that the dispatcher keeps going."""

    relay: OutboxRelay
    hint: OutboxHint
    broker: Broker
    ids: Ids
    relay_outbox: RelayOutbox
    recover_leases: RecoverLeases
    requeue_silent: RequeueSilent
    expire_uploads: ExpireUploads
    sweep_objects: SweepObjects
    record_dead_letters: RecordDeadLetters
    lease_seconds: float


class Dispatcher:
    """Runs one loop for each job until it is cancelled; then nothing is left half done.

    A sweeper may be interrupted anywhere. The relay may not: rows that it holds would be left
    alone until its silence is noticed, and their photos would wait for as long.
    """

    def __init__(self, parts: DispatcherParts) -> None:
        self._parts = parts

    def loops(self) -> list[Loop]:
        """Every job and its rhythm."""
        parts, lease = self._parts, self._parts.lease_seconds
        return [
            Loop(
                name="relay_outbox",
                work=self._relay,
                period_seconds=RELAY_POLL_SECONDS,
                rest=parts.hint.wait,
            ),
            Loop(
                name="recover_leases",
                work=_once(parts.recover_leases),
                period_seconds=lease / 5,
            ),
            Loop(name="requeue_silent", work=_once(parts.requeue_silent), period_seconds=5),
            Loop(name="expire_uploads", work=_once(parts.expire_uploads), period_seconds=15),
            Loop(name="sweep_objects", work=_once(parts.sweep_objects), period_seconds=10),
            Loop(name="prune_outbox", work=self._prune, period_seconds=60),
            Loop(name="record_dead_letters", work=self._record, period_seconds=1),
        ]

    async def run(self) -> None:
        """Work until cancelled."""
        async with asyncio.TaskGroup() as group:
            for loop in self.loops():
                group.create_task(run_loop(loop, self._parts.ids), name=loop.name)

    async def _relay(self) -> bool:
        """A round that is told to stop ends first, unless a broker that is away keeps it."""
        sending = asyncio.ensure_future(self._parts.relay_outbox())
        try:
            return await asyncio.shield(sending) > 0
        except asyncio.CancelledError:
            await asyncio.wait({sending}, timeout=RELAY_FINISH_SECONDS)
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)
            raise

    async def _prune(self) -> bool:
        pruned = await self._parts.relay.prune(
            older_than_seconds=PRUNE_AFTER_SECONDS, limit=PRUNE_BATCH
        )
        return pruned == PRUNE_BATCH

    async def _record(self) -> bool:
        """Take dead letters for as long as all goes well; a failure starts a new consumer."""
        consumer = await self._parts.broker.consume(Queue.DEAD, prefetch=1)
        try:
            while True:
                delivery = await consumer.receive()
                await self._parts.record_dead_letters(delivery)
                await delivery.ack()
        finally:
            await consumer.close()


def _once(job: Callable[[], Awaitable[int]]) -> Callable[[], Awaitable[bool]]:
    """A round of a sweeper does all there is, so nothing more is waiting after it."""

    async def work() -> bool:
        await job()
        return False

    return work
