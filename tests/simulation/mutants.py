"""Deliberate defects, one at a time: what a simulation that never fails would not notice.

Each is a mistake that real systems of this kind have made. `switched_on` puts it into the code
under test for as long as the context lasts.
"""

# A defect is put where the code is, private or not.
# pyright: reportPrivateUsage=false

import asyncio
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest

from adapters.memory.database import MemoryOverview
from application.expire_uploads import ExpireUploads
from application.make_variants import MakeVariants
from application.messages import ProcessRequest, encode
from application.ports import Delivery, UnitOfWork
from application.process_media import Processed, ProcessMedia
from application.recover_leases import RecoverLeases
from application.relay_outbox import RelayOutbox
from application.values import Backlog
from domain.errors import PipelineError
from domain.lifecycle import CLAIMABLE, State
from domain.media import Change, Media
from domain.parts import Variant
from domain.retry_policy import RetryPolicy
from entrypoints.worker import Worker
from tests.simulation.servers import SimulatedUnitOfWork

Patch = pytest.MonkeyPatch


def ack_before_commit(patch: Patch) -> None:
    """The delivery is acked when it arrives, and processed afterwards."""
    handle = Worker._handle

    async def early(self: Worker, delivery: Delivery) -> None:
        working = asyncio.create_task(handle(self, delivery))
        await asyncio.sleep(0.1)
        with suppress(PipelineError):
            await delivery.ack()
        await working

    patch.setattr(Worker, "_handle", early)


def mark_before_confirm(patch: Patch) -> None:
    """The outbox row is marked first and published second."""

    async def relay(self: RelayOutbox) -> int:
        rows = await self._relay.claim(limit=100, hold_seconds=30)
        if rows:
            await self._relay.mark_published([row.id for row in rows])
        for row in rows:
            body, headers = encode(row.request)
            await self._publisher.publish(str(row.id), body, headers)
        return len(rows)

    patch.setattr(RelayOutbox, "__call__", relay)


def finish_without_token(patch: Patch) -> None:
    """Whoever is done first writes the end, whose lease it is does not matter."""

    def holds(self: Media, _: int) -> bool:
        return self.state is State.PROCESSING

    patch.setattr(Media, "holds", holds)


def keys_without_token(patch: Patch) -> None:
    """All attempts write their variants under the same keys."""

    def prefix(self: Media, _: int) -> str:
        return f"media/{self.id}/1/"

    patch.setattr(Media, "variant_prefix", prefix)


def lease_by_worker_clock(patch: Patch) -> None:
    """The worker's own clock says when its lease ends."""
    claim = ProcessMedia._claim

    async def skewed(self: ProcessMedia, uow: UnitOfWork, request: ProcessRequest) -> Any:
        assert isinstance(uow, SimulatedUnitOfWork)
        uow._now = uow.simulated.process_clock()
        return await claim(self, uow, request)

    patch.setattr(ProcessMedia, "_claim", skewed)


def sweeper_without_recheck(patch: Patch) -> None:
    """What was overdue when the list was read is taken away, whatever happened since."""
    lose = Media.lose_lease

    def blind(self: Media, *, now: datetime, policy: RetryPolicy) -> Change:
        overdue = replace(self, deadline_at=now) if self.state is State.PROCESSING else self
        return lose(overdue, now=now, policy=policy)

    patch.setattr(Media, "lose_lease", blind)
    # The list is stale by a renewal: exactly what a slow sweeper sees.
    recover = RecoverLeases._visit

    async def late(self: RecoverLeases, media_id: str) -> bool:
        await asyncio.sleep(6)
        return await recover(self, media_id)

    patch.setattr(RecoverLeases, "_visit", late)


def attempts_counted_at_the_end(patch: Patch) -> None:
    """A claim is free; only an attempt that came to an end is charged."""
    start = Media.start_processing

    def free(self: Media, **arguments: Any) -> Change:
        change = start(self, **arguments)
        if change.moved and change.media.state is State.PROCESSING:
            return Change(replace(change.media, attempt=self.attempt), moved=True)
        return change

    patch.setattr(Media, "start_processing", free)


def take_over_refused(patch: Patch) -> None:
    """A photo in PROCESSING is somebody else's, for ever."""
    start = Media.start_processing

    def refusing(self: Media, **arguments: Any) -> Change:
        if self.state is State.PROCESSING:
            return Change(self, moved=False)
        return start(self, **arguments)

    patch.setattr(Media, "start_processing", refusing)
    patch.setattr(Media, "lose_lease", _ignore)


def retry_outside_the_commit(patch: Patch) -> None:
    """RETRYING is committed, and the message for it written afterwards."""
    retry = ProcessMedia._retry

    async def apart(self: ProcessMedia, uow: UnitOfWork, media: Media, *rest: Any) -> Processed:
        assert isinstance(uow, SimulatedUnitOfWork)
        enqueue, later = uow.enqueue, list[ProcessRequest]()

        async def defer(request: ProcessRequest, *, delay_seconds: float = 0.0) -> None:
            del delay_seconds
            later.append(request)

        uow.enqueue = defer  # type: ignore[method-assign]
        outcome = await retry(self, uow, media, *rest)
        uow.enqueue = enqueue  # type: ignore[method-assign]
        async with self._database.begin() as second:
            for request in later:
                await second.enqueue(request)
            await second.commit()
        return outcome

    patch.setattr(ProcessMedia, "_retry", apart)


def release_that_charges(patch: Patch) -> None:
    """A worker that stops in good order costs the photo an attempt."""
    release = Media.release

    def charging(self: Media, **arguments: Any) -> Change:
        change = release(self, **arguments)
        return Change(replace(change.media, attempt=self.attempt), moved=change.moved)

    patch.setattr(Media, "release", charging)


def expiry_without_lock(patch: Patch) -> None:
    """An upload is expired by what was read some time before."""

    async def visit(self: ExpireUploads, media_id: str) -> bool:
        async with self._database.begin() as uow:
            media = await uow.media.get(media_id)
        await asyncio.sleep(20)
        if media is None or media.state is not State.PENDING_UPLOAD:
            return False
        async with self._database.begin() as uow:
            assert isinstance(uow, SimulatedUnitOfWork)
            current = await uow.media.get(media_id, lock=True)
            assert current is not None
            expired = replace(media, state=State.EXPIRED, version=current.version + 1)
            await uow.media.save(replace(expired, deadline_at=uow.now))
            await uow.commit()
        return True

    patch.setattr(ExpireUploads, "_visit", visit)


def ready_before_the_uploads(patch: Patch) -> None:
    """READY is committed while variants are still on their way."""
    upload = MakeVariants._upload

    async def hasty(self: MakeVariants, media: Media, file: Any) -> Variant:
        task = asyncio.create_task(upload(self, media, file))
        await asyncio.sleep(0)
        del task
        key = f"{media.variant_prefix(media.lease_token)}{file.name}.webp"
        return Variant(
            name=file.name,
            key=key,
            content_type=file.content_type,
            width=file.width,
            height=file.height,
            bytes=file.bytes,
            sha256=file.sha256,
            recipe="",
        )

    patch.setattr(MakeVariants, "_upload", hasty)


def sweeper_takes_the_winner(patch: Patch) -> None:
    """Everything but the original counts as garbage."""

    def is_garbage(_: Media, key: str) -> bool:
        return not key.endswith("original.jpg")

    patch.setattr(Media, "is_garbage", is_garbage)


def outage_that_charges(patch: Patch) -> None:
    """A server's outage costs the photo an attempt, but is recorded as if it did not."""
    retry = Media.schedule_retry

    def charging(self: Media, **arguments: Any) -> Change:
        change = retry(self, **arguments)
        return Change(replace(change.media, attempt=self.attempt), moved=change.moved)

    patch.setattr(Media, "schedule_retry", charging)


def silence_is_never_excused(patch: Patch) -> None:
    """Whoever could not renew its lease while the database was away counts as dead."""
    patch.setattr(Media, "excuse", _ignore)


def lost_messages_stay_lost(patch: Patch) -> None:
    """Nobody asks again for a photo whose message is gone."""
    patch.setattr(Media, "requeue", _ignore)


def _ignore(self: Media, **_: object) -> Change:
    return Change(self, moved=False)


def window_never_frees(patch: Patch) -> None:
    """A message that was sent again and lost again keeps its place among those under way."""
    backlog = MemoryOverview.backlog

    async def full(self: MemoryOverview) -> Backlog:
        media = self._database.tables.media.values()
        again = sum(one.requeues > 0 and one.state in CLAIMABLE for one in media)
        return replace(await backlog(self), requeued=again)

    patch.setattr(MemoryOverview, "backlog", full)


# Each with the number of runs within which it must be caught: several times what it took.
MUTANTS: dict[Callable[[Patch], None], int] = {
    ack_before_commit: 20,
    mark_before_confirm: 50,
    finish_without_token: 300,
    keys_without_token: 50,
    lease_by_worker_clock: 50,
    sweeper_without_recheck: 100,
    attempts_counted_at_the_end: 20,
    take_over_refused: 100,
    retry_outside_the_commit: 50,
    release_that_charges: 300,
    expiry_without_lock: 300,
    ready_before_the_uploads: 20,
    sweeper_takes_the_winner: 20,
    outage_that_charges: 50,
    silence_is_never_excused: 400,
    lost_messages_stay_lost: 100,
    window_never_frees: 100,
}


@contextmanager
def switched_on(mutant: Callable[[Patch], None]) -> Generator[None]:
    """The code under test with this one defect."""
    with pytest.MonkeyPatch.context() as patch:
        mutant(patch)
        yield
