"""Uploads that nobody completed: close them, so that their objects can be removed."""

from application.ports import Database, UnitOfWork
from application.sweeping import sweep
from application.transactions import transact
from domain.lifecycle import State


class ExpireUploads:
    """Moves abandoned uploads to EXPIRED. `sweep_objects` then removes what was uploaded.

    Decided under the lock: a photo completed at the same moment is either completed first and
    left alone, or expired first and its completion refused.
    """

    def __init__(self, *, database: Database) -> None:
        self._database = database

    async def __call__(self) -> int:
        """How many uploads expired."""
        return await sweep(self._database, frozenset({State.PENDING_UPLOAD}), self._visit)

    async def _visit(self, media_id: str) -> bool:
        async def expire(uow: UnitOfWork) -> bool:
            media = await uow.media.get(media_id, lock=True)
            if media is None:
                return False
            change = media.expire(now=uow.now)
            if change.moved:
                await uow.media.save(change.media)
                await uow.commit()
            return change.moved

        return await transact(self._database, expire)
