"""The operator wants another go at every photo that failed for one reason."""

from collections.abc import AsyncGenerator

from application.ports import Database, Overview
from application.reprocess_media import Reprocessed, ReprocessMedia
from domain.failure import FailureCode

LETTERS_MAX = 10_000


class ReplayFailures:
    """Sends FAILED photos of one code on their way again, the latest failure first.

    Where a dead letter was the reason, it is marked as replayed along with its photo.
    """

    def __init__(
        self, *, database: Database, overview: Overview, reprocess: ReprocessMedia
    ) -> None:
        self._database = database
        self._overview = overview
        self._reprocess = reprocess

    async def __call__(
        self, code: FailureCode, *, limit: int, dry_run: bool = False
    ) -> AsyncGenerator[Reprocessed]:
        """One answer for each of at most `limit` photos, as soon as it is durable."""
        failed = await self._overview.failed(code=code, limit=limit)
        letters = await self._open_letters() if failed else {}
        for media in failed:
            letter_id = letters.get(media.id)
            if letter_id is None:
                yield await self._reprocess(media.id, dry_run=dry_run)
            else:
                yield await self._reprocess.dead_letter(letter_id, dry_run=dry_run)

    async def _open_letters(self) -> dict[str, str]:
        """By media, the latest of its letters that is still open."""
        async with self._database.begin() as uow:
            letters = await uow.dead_letters.list(limit=LETTERS_MAX)
        return {
            letter.media_id: letter.id
            for letter in reversed(letters)
            if letter.media_id is not None and letter.is_open
        }
