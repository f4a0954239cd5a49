"""Where is my photo?"""

from application.ports import Database
from domain.errors import MediaNotFound, VariantNotFound
from domain.media import Media
from domain.parts import Variant


class GetMedia:
    """Reads one media."""

    def __init__(self, *, database: Database) -> None:
        self._database = database

    async def __call__(self, media_id: str) -> Media:
        """Raises MediaNotFound."""
        async with self._database.begin() as uow:
            media = await uow.media.get(media_id)
        if media is None:
            raise MediaNotFound(media_id)
        return media

    async def variant(self, media_id: str, name: str) -> Variant:
        """One finished variant; raises MediaNotFound or VariantNotFound."""
        media = await self(media_id)
        for variant in media.variants:
            if variant.name == name:
                return variant
        raise VariantNotFound(media_id, name)
