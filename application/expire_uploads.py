"""Uploads that nobody completed: close them, so that their objects can be removed."""

from application.ports import Database, UnitOfWork
from application.sweeping import sweep
from application.transactions import transact
from domain.lifecycle import State
from domain.media import SLOWEST_UPLOAD_SECONDS


class ExpireUploads:
    """Moves abandoned uploads to EXPIRED. After `sweep_seconds`, in which an upload that is still
    under way ends, `sweep_objects` removes what was uploaded.

    Decided under the lock: a photo completed at the same moment is either completed first and
    left alone, or expired first and its completion refused.
    """

    def __init__(
        self, *, database: Database, sweep_seconds: float = SLOWEST_UPLOAD_SECONDS
    ) -> None:
        self._database = database
        self._sweep_seconds = sweep_seconds

    async def __call__(self) -> int:
        """How many uploads expired."""
        return await sweep(self._database, frozenset({State.PENDING_UPLOAD}), self._visit)

    async def _visit(self, media_id: str) -> bool:
        async def expire(uow: UnitOfWork) -> bool:
            media = await uow.media.get(media_id, lock=True)
            if media is None:
                return False
            change = media.expire(now=uow.now, sweep_seconds=self._sweep_seconds)
            if change.moved:
                await uow.media.save(change.media)
                await uow.commit()
            return change.moved

        return await transact(self._database, expire)
