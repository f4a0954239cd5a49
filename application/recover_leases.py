"""Photos whose worker fell silent: hand them to another one."""

from datetime import datetime, timedelta

from application.messages import ProcessRequest
from application.ports import Database, UnitOfWork
from application.sweeping import sweep
from application.transactions import transact
from domain.lifecycle import State
from domain.retry_policy import RetryPolicy

HOLD_SECONDS_MIN = 3.0  # in which every worker that lives has found the database again


class RecoverLeases:
    """Moves every photo with an expired lease to RETRYING, or to FAILED after too many times.

    Who has not seen the database for half a lease cannot tell a dead worker from one that could
    not renew its lease either: an outage was there, or this process was not. It then holds still
    for half a lease, so that workers which live can speak first. To be called several times in
    that time.
    """

    def __init__(self, *, database: Database, policy: RetryPolicy, lease_seconds: float) -> None:
        self._database = database
        self._policy = policy
        self._blind = timedelta(seconds=lease_seconds / 2)
        self._hold = timedelta(seconds=max(lease_seconds / 2, HOLD_SECONDS_MIN))
        self._seen_at: datetime | None = None
        self._hold_until: datetime | None = None

    async def __call__(self) -> int:
        """How many leases were found lost."""
        async with self._database.begin() as uow:
            now = uow.now
        self._note(now)
        if self._hold_until is not None and now < self._hold_until:
            return 0
        return await sweep(self._database, frozenset({State.PROCESSING}), self._visit)

    def _note(self, now: datetime) -> None:
        """The database is there. Its own time says for how long it was not seen."""
        if self._seen_at is None or now - self._seen_at > self._blind:
            self._hold_until = now + self._hold
        self._seen_at = now

    async def _visit(self, media_id: str) -> bool:
        async def recover(uow: UnitOfWork) -> bool:
            return await self._recover(uow, media_id)

        return await transact(self._database, recover)

    async def _recover(self, uow: UnitOfWork, media_id: str) -> bool:
        self._note(uow.now)
        media = await uow.media.get(media_id, lock=True)
        if media is None:
            return False
        change = media.lose_lease(now=uow.now, policy=self._policy)
        if not change.moved:
            return False
        lost = change.media
        await uow.media.save(lost)
        if lost.next_attempt_at is not None:
            await uow.enqueue(ProcessRequest(lost.id, lost.lease_token, lost.traceparent))
        await uow.commit()
        return True
