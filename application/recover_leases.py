"""Photos whose worker fell silent: hand them to another one."""

from application.messages import ProcessRequest
from application.ports import Database, Ids, UnitOfWork
from application.sweeping import sweep
from application.transactions import transact
from domain.lifecycle import State
from domain.retry_policy import RetryPolicy


class RecoverLeases:
    """Moves every photo with an expired lease to RETRYING, or to FAILED after too many times."""

    def __init__(self, *, database: Database, ids: Ids, policy: RetryPolicy) -> None:
        self._database = database
        self._ids = ids
        self._policy = policy

    async def __call__(self) -> int:
        """How many leases were found lost."""
        return await sweep(self._database, frozenset({State.PROCESSING}), self._visit)

    async def _visit(self, media_id: str) -> bool:
        async def recover(uow: UnitOfWork) -> bool:
            return await self._recover(uow, media_id)

        return await transact(self._database, recover)

    async def _recover(self, uow: UnitOfWork, media_id: str) -> bool:
        media = await uow.media.get(media_id, lock=True)
        if media is None:
            return False
        change = media.lose_lease(now=uow.now, policy=self._policy, fraction=self._ids.fraction())
        if not change.moved:
            return False
        lost = change.media
        await uow.media.save(lost)
        if lost.next_attempt_at is not None:
            request = ProcessRequest(lost.id, lost.lease_token, lost.traceparent)
            delay = (lost.next_attempt_at - uow.now).total_seconds()
            await uow.enqueue(request, delay_seconds=delay)
        await uow.commit()
        return True
