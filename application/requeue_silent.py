"""Photos that wait for a message which may have been lost with the broker: send another."""

from application.messages import ProcessRequest
from application.ports import Database, Overview, UnitOfWork
from application.sweeping import Round
from application.transactions import transact
from domain.lifecycle import CLAIMABLE
from domain.retry_policy import RetryPolicy

OUTBOX_BEHIND_SECONDS = 10.0


class RequeueSilent:
    """Enqueues photos again that were UPLOADED, or due in RETRYING, and silent for too long.

    A deep queue looks like a lost one: in both, photos wait. So at most `window` photos are
    enqueued again and unclaimed at any time. Behind a deep queue these few messages wait too and
    no more are added; where the queue was lost they are taken at once and the next follow, as
    fast as workers take them. A message that was silent once more gives its place up: the queue
    may have been lost again. While the outbox itself is behind, silence proves nothing.
    """

    def __init__(
        self, *, database: Database, overview: Overview, policy: RetryPolicy, window: int = 100
    ) -> None:
        self._database = database
        self._overview = overview
        self._policy = policy
        self._window = window

    async def __call__(self) -> int:
        """How many photos were enqueued again."""
        backlog = await self._overview.backlog()
        room = self._window - backlog.requeued
        if room <= 0 or backlog.outbox.oldest_seconds > OUTBOX_BEHIND_SECONDS:
            return 0
        async with self._database.begin() as uow:
            silent = await uow.media.due(CLAIMABLE, limit=room)
        visits = Round(self._visit)
        await visits.go(silent)
        return visits.result()

    async def _visit(self, media_id: str) -> bool:
        async def requeue(uow: UnitOfWork) -> bool:
            media = await uow.media.get(media_id, lock=True)
            if media is None:
                return False
            change = media.requeue(now=uow.now, policy=self._policy)
            if change.moved:
                again = change.media
                await uow.media.save(again)
                await uow.enqueue(ProcessRequest(again.id, again.lease_token, again.traceparent))
                await uow.commit()
            return change.moved

        return await transact(self._database, requeue)
