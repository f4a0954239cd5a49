"""The media repository on PostgreSQL."""

from collections.abc import Sequence

from adapters.postgres.transaction import Transaction
from adapters.rows import from_row, to_row
from adapters.sql import load_statements
from application.ports import MediaRepository
from application.values import Due
from domain.errors import VersionConflict
from domain.lifecycle import State
from domain.media import Media

_SQL = load_statements("adapters.postgres", "media.sql")


class PostgresMedia(MediaRepository):
    """A locked row stays ours until the transaction ends; others wait for it."""

    def __init__(self, transaction: Transaction) -> None:
        self._transaction = transaction
        self._versions: dict[str, int] = {}

    async def add(self, media: Media) -> None:
        self._transaction.media_id = media.id
        if await self._transaction.write(_SQL["add"], *_values(media)) is None:
            raise VersionConflict(media.id)
        self._versions[media.id] = media.version

    async def get(self, media_id: str, *, lock: bool = False) -> Media | None:
        self._transaction.media_id = media_id
        if lock:
            row = await self._transaction.write(_SQL["get_locked"], media_id)
        else:
            row = await self._transaction.read_one(_SQL["get"], media_id)
        if row is None:
            return None
        media = from_row(row)
        self._versions[media_id] = media.version
        return media

    async def save(self, media: Media) -> None:
        self._transaction.media_id = media.id
        loaded = self._versions.get(media.id, media.version - 1)
        if await self._transaction.write(_SQL["save"], *_values(media), loaded) is None:
            raise VersionConflict(media.id)
        self._versions[media.id] = media.version

    async def due(
        self, states: frozenset[State], *, limit: int, after: Due | None = None
    ) -> Sequence[Due]:
        rows = await self._transaction.read(
            _SQL["due"],
            sorted(states),
            self._transaction.now,
            after.deadline_at if after else None,
            after.media_id if after else "",
            limit,
        )
        return [Due(row["deadline_at"], row["id"]) for row in rows]


def _values(media: Media) -> tuple[object, ...]:
    """The parameters that `add` and `save` share."""
    code = media.failure.code.value if media.failure else None
    return (*to_row(media).values(), code)
