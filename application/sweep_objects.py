"""Objects that nobody refers to: those of losing attempts and of expired uploads."""

from application.ports import Database, ObjectStore, UnitOfWork
from application.sweeping import sweep
from application.transactions import transact
from domain.lifecycle import TERMINAL
from domain.media import Media
from domain.record import object_prefix


class SweepObjects:
    """Removes the garbage of media at rest, some time after they came to rest."""

    def __init__(self, *, database: Database, store: ObjectStore) -> None:
        self._database = database
        self._store = store

    async def __call__(self) -> int:
        """How many media were swept. Raises StoreUnavailable; the rest waits for the next call."""
        return await sweep(self._database, TERMINAL, self._visit)

    async def _visit(self, media_id: str) -> bool:
        async with self._database.begin() as uow:
            media = await uow.media.get(media_id)
        if media is None or not media.is_terminal:
            return False
        await self._remove_garbage(media)

        async def mark(uow: UnitOfWork) -> bool:
            return await self._mark(uow, media)

        return await transact(self._database, mark)

    async def _remove_garbage(self, media: Media) -> None:
        keys = await self._store.list_keys(object_prefix(media.id))
        garbage = [key for key in keys if media.is_garbage(key)]
        if garbage:
            await self._store.delete(garbage)

    async def _mark(self, uow: UnitOfWork, seen: Media) -> bool:
        media = await uow.media.get(seen.id, lock=True)
        if media is None or media.version != seen.version:
            return False
        await uow.media.save(media.swept(now=uow.now))
        await uow.commit()
        return True
