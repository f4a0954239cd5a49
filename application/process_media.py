"""Process one photo: claim it, work under a lease, commit the end under the fencing token.

What can go wrong at each step, and who mends it, is the crash table of ARCHITECTURE.md. The rule
behind all of it: nothing is true until it is committed, and nothing is committed without the
token of the lease it was done under.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum

from application.make_variants import MakeVariants
from application.messages import ProcessRequest
from application.ports import Database, Ids, ObjectStore, UnitOfWork
from application.transactions import T, Work, transact, transact_patiently
from domain.errors import (
    DatabaseUnavailable,
    LeaseLost,
    ProcessingFailed,
    StoreUnavailable,
    Unavailable,
)
from domain.failure import FailureCode
from domain.lifecycle import State
from domain.media import Change, Media
from domain.parts import Attempt, Result
from domain.retry_policy import GiveUp, Retry, RetryPolicy

RENEWALS_PER_LEASE = 3


class Processed(StrEnum):
    """How a delivery was dealt with. In each case it is to be acked: all is durable."""

    READY = "ready"
    FAILED = "failed"
    RETRYING = "retrying"
    RELEASED = "released"  # given back because the worker stops
    DUPLICATE = "duplicate"  # nothing to do: finished, not due, or in other hands
    UNKNOWN = "unknown"  # there is no such media
    EARLY = "early"  # nobody has completed its upload: whoever does sends a message for it
    STALE = "stale"  # somebody took over; what was done here does not count


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """Who claims, and for how long without renewal."""

    worker_id: str
    seconds: float


class ProcessMedia:
    """Handles a request to process a photo, as often as it is delivered.

    `on_defect` is told the media id and the error when an attempt ends with one that nobody
    foresaw.
    """

    def __init__(
        self,
        *,
        database: Database,
        store: ObjectStore,
        make_variants: MakeVariants,
        ids: Ids,
        policy: RetryPolicy,
        lease: Lease,
        on_defect: Callable[[str, Exception], None],
    ) -> None:
        self._database = database
        self._store = store
        self._make_variants = make_variants
        self._ids = ids
        self._policy = policy
        self._lease = lease
        self._on_defect = on_defect
        self._running: set[tuple[str, int]] = set()
        self._unanswered: set[str] = set()
        self._claiming = asyncio.Lock()

    async def __call__(self, request: ProcessRequest, stopping: asyncio.Event) -> Processed:
        """Returns when the end of this try is durable.

        Raises DatabaseUnavailable if the photo could not even be claimed: keep the delivery and
        call again. When `stopping` is set, work is dropped and the photo released.
        """
        async with self._claiming:
            claimed = await self._claimed(request)
            if isinstance(claimed, Processed):
                return claimed
            held = (claimed.id, claimed.lease_token)
            self._running.add(held)
        try:
            return await self._attempt(claimed, stopping)
        finally:
            self._running.discard(held)

    # --- claim -------------------------------------------------------------------------------

    async def _claimed(self, request: ProcessRequest) -> Media | Processed:
        """Claim, and remember whether there was an answer: without one it may have happened."""
        media_id = request.media_id
        try:
            if media_id in self._unanswered:
                await transact(self._database, lambda uow: self._excuse_claim(uow, media_id))
            claimed = await transact(self._database, lambda uow: self._claim(uow, request))
        except DatabaseUnavailable:
            self._unanswered.add(media_id)
            raise
        self._unanswered.discard(media_id)
        return claimed

    async def _excuse_claim(self, uow: UnitOfWork, media_id: str) -> None:
        """A claim of ours that nobody told us of may have lost its lease in the meantime."""
        media = await uow.media.get(media_id, lock=True)
        ours = [one for one in media.attempts if self._is_ours(one)] if media else []
        if media is not None and ours:
            await self._save_excuse(uow, media.excuse(now=uow.now, token=ours[-1].number))

    def _is_ours(self, attempt: Attempt) -> bool:
        return attempt.worker_id == self._lease.worker_id

    async def _claim(self, uow: UnitOfWork, request: ProcessRequest) -> Media | Processed:
        media = await uow.media.get(request.media_id, lock=True)
        if media is None:
            return Processed.UNKNOWN
        if media.needs_upload:
            return Processed.EARLY
        if self._is_orphaned_claim_of_ours(media):
            adopted = media.renew_lease(
                now=uow.now, token=media.lease_token, lease_seconds=self._lease.seconds
            )
            await uow.media.save(adopted)
            await uow.commit()
            return adopted
        change = media.start_processing(
            now=uow.now,
            policy=self._policy,
            worker_id=self._lease.worker_id,
            lease_seconds=self._lease.seconds,
        )
        if not change.moved:
            return Processed.DUPLICATE
        await uow.media.save(change.media)
        await uow.commit()
        return change.media if change.media.state is State.PROCESSING else Processed.FAILED

    def _is_orphaned_claim_of_ours(self, media: Media) -> bool:
        """A claim whose commit succeeded although its answer was lost.

        Claims of one process are made one after another, and worker ids are unique for each
        start, so a lease in our name that nobody here works under is such a claim.
        """
        held = (media.id, media.lease_token)
        ours = media.state is State.PROCESSING and media.worker_id == self._lease.worker_id
        return ours and held not in self._running

    # --- work under the lease ----------------------------------------------------------------

    async def _attempt(self, media: Media, stopping: asyncio.Event) -> Processed:
        """Work until it is done, the lease is lost, or the worker stops: whatever comes first."""
        work = asyncio.create_task(self._make_variants(media))
        heartbeat = asyncio.create_task(self._renew_for_ever(media))
        stop = asyncio.create_task(stopping.wait())
        tasks = (work, heartbeat, stop)
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            if work.done():
                return await self._conclude(media, work)
            await _end(work)
            if heartbeat.done():
                return await self._conclude(media, heartbeat)
            return await self._persist(lambda uow: self._release(uow, media))
        except LeaseLost:
            await _end(work)
            if _was_cut_off(heartbeat) and not _is_to_blame(work):
                await self._persist(lambda uow: self._excuse(uow, media))
            await self._discard(media)
            return Processed.STALE
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _renew_for_ever(self, media: Media) -> None:
        """Renew every third of a lease. Raises when it is lost, or cannot be renewed in time."""
        period = self._lease.seconds / RENEWALS_PER_LEASE
        while True:
            await asyncio.sleep(period)
            try:
                async with asyncio.timeout(period):
                    await self._persist(lambda uow: self._renew(uow, media))
            except TimeoutError as error:
                raise DatabaseUnavailable(f"the lease of media {media.id} not renewed") from error

    async def _renew(self, uow: UnitOfWork, media: Media) -> None:
        current = await uow.media.get(media.id, lock=True)
        if current is None:
            raise LeaseLost(media.id, media.lease_token)
        token, seconds = media.lease_token, self._lease.seconds
        await uow.media.save(current.renew_lease(now=uow.now, token=token, lease_seconds=seconds))
        await uow.commit()

    # --- the end of an attempt ---------------------------------------------------------------

    async def _conclude(
        self, media: Media, ended: asyncio.Task[Result] | asyncio.Task[None]
    ) -> Processed:
        try:
            result = ended.result()
        except LeaseLost:
            raise
        except ProcessingFailed as failure:
            return await self._give_back(media, failure.code, failure.detail)
        except StoreUnavailable as outage:
            return await self._give_back(media, FailureCode.STORAGE_UNAVAILABLE, outage.detail)
        except DatabaseUnavailable:
            detail = "The database did not answer while the photo was processed."
            return await self._give_back(media, FailureCode.DATABASE_UNAVAILABLE, detail)
        except Exception as defect:  # noqa: BLE001 - whatever it is, the photo must go on
            self._on_defect(media.id, defect)
            detail = "Something unexpected went wrong; the log of the worker has it."
            return await self._give_back(media, FailureCode.INTERNAL_ERROR, detail)
        assert result is not None, "only the work ends without raising"
        return await self._persist(lambda uow: self._finish(uow, media, result))

    async def _finish(self, uow: UnitOfWork, media: Media, result: Result) -> Processed:
        current = await uow.media.get(media.id, lock=True)
        if current is not None and current.was_finished_by(media.lease_token):
            return Processed.READY  # our own commit, whose answer was lost
        current = _held(current, media)
        change = current.finish_processing(
            now=uow.now, policy=self._policy, token=media.lease_token, result=result
        )
        await uow.media.save(change.media)
        await uow.commit()
        return Processed.READY

    async def _give_back(self, media: Media, code: FailureCode, detail: str) -> Processed:
        fraction = self._ids.fraction()

        async def end(uow: UnitOfWork) -> Processed:
            current = _held(await uow.media.get(media.id, lock=True), media)
            decision = self._policy.decide(
                code,
                attempt=current.attempt,
                postponed=current.postponed_in_a_row,
                died=current.decoder_deaths,
                fraction=fraction,
            )
            if isinstance(decision, GiveUp):
                return await self._fail(uow, current, decision, code, detail)
            return await self._retry(uow, current, decision, code, detail)

        return await self._persist(end)

    async def _fail(
        self, uow: UnitOfWork, media: Media, verdict: GiveUp, code: FailureCode, detail: str
    ) -> Processed:
        if verdict.code is not code:
            detail = f"The last of {media.attempt} attempts ended with {code}: {detail}"
        change = media.fail(
            now=uow.now,
            policy=self._policy,
            token=media.lease_token,
            code=verdict.code,
            detail=detail,
            cause=code,
        )
        await uow.media.save(change.media)
        await uow.commit()
        return Processed.FAILED

    async def _retry(
        self, uow: UnitOfWork, media: Media, retry: Retry, code: FailureCode, detail: str
    ) -> Processed:
        change = media.schedule_retry(
            now=uow.now,
            policy=self._policy,
            token=media.lease_token,
            delay_seconds=retry.delay_seconds,
            charged=retry.charged,
            code=code,
            detail=detail,
        )
        await uow.media.save(change.media)
        await uow.enqueue(_request(change.media), delay_seconds=retry.delay_seconds)
        await uow.commit()
        return Processed.RETRYING

    async def _release(self, uow: UnitOfWork, media: Media) -> Processed:
        current = _held(await uow.media.get(media.id, lock=True), media)
        change = current.release(now=uow.now, policy=self._policy, token=media.lease_token)
        await uow.media.save(change.media)
        await uow.enqueue(_request(change.media))
        await uow.commit()
        return Processed.RELEASED

    async def _excuse(self, uow: UnitOfWork, media: Media) -> None:
        """The lease was taken for that of a dead worker, because the database was away."""
        current = await uow.media.get(media.id, lock=True)
        if current is not None:
            await self._save_excuse(uow, current.excuse(now=uow.now, token=media.lease_token))

    async def _save_excuse(self, uow: UnitOfWork, excuse: Change) -> None:
        if excuse.moved:
            await uow.media.save(excuse.media)
            await uow.commit()

    async def _discard(self, media: Media) -> None:
        """Remove what this attempt wrote; the token in the key keeps others' objects safe."""
        with suppress(StoreUnavailable):  # then the sweeper removes it
            keys = await self._store.list_keys(media.variant_prefix(media.lease_token))
            if keys:
                await self._store.delete(keys)

    async def _persist(self, work: Work[T]) -> T:
        return await transact_patiently(self._database, self._ids, work)


def _held(current: Media | None, media: Media) -> Media:
    """The stored media, if the lease is still ours."""
    if current is None or not current.holds(media.lease_token):
        raise LeaseLost(media.id, media.lease_token)
    return current


def _request(media: Media) -> ProcessRequest:
    return ProcessRequest(media.id, media.lease_token, media.traceparent)


def _was_cut_off(heartbeat: asyncio.Task[None]) -> bool:
    """Whether the lease could not be renewed because the database did not answer."""
    ended = heartbeat.done() and not heartbeat.cancelled()
    return ended and isinstance(heartbeat.exception(), DatabaseUnavailable)


def _is_to_blame(work: asyncio.Task[Result]) -> bool:
    """Whether the attempt failed for a reason that is charged, lease or not."""
    failure = work.exception() if work.done() and not work.cancelled() else None
    return failure is not None and not isinstance(failure, Unavailable)


async def _end(task: asyncio.Task[Result]) -> None:
    """Cancel the task and wait until it is over, whatever it answers."""
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
