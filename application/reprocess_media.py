"""The operator wants another go at a photo that was given up."""

from dataclasses import dataclass

from application.messages import ProcessRequest
from application.ports import Database, UnitOfWork
from application.transactions import transact
from domain.errors import LetterNotFound, MediaNotFound
from domain.lifecycle import Trigger, Verdict, verdict
from domain.media import Media
from domain.retry_policy import RetryPolicy


@dataclass(frozen=True, slots=True)
class Reprocessed:
    """The media as it is now, and whether this call has sent it on its way again."""

    media: Media
    moved: bool


class ReprocessMedia:
    """Moves a FAILED media to UPLOADED with all its attempts, and enqueues it; else nothing.

    Guarded by the state machine: a second call finds nothing to do. With `dry_run` nothing is
    kept, and the answer says what would have happened.
    """

    def __init__(self, *, database: Database, policy: RetryPolicy) -> None:
        self._database = database
        self._policy = policy

    async def __call__(self, media_id: str, *, dry_run: bool = False) -> Reprocessed:
        """Raises MediaNotFound."""

        async def work(uow: UnitOfWork) -> Reprocessed:
            done = await self._reprocess(uow, media_id)
            if done.moved and not dry_run:
                await uow.commit()
            return done

        return await transact(self._database, work)

    async def dead_letter(self, letter_id: str, *, dry_run: bool = False) -> Reprocessed:
        """The same for the photo of a kept dead letter, which is marked as replayed.

        Raises LetterNotFound, or MediaNotFound if the letter names no photo.
        """

        async def work(uow: UnitOfWork) -> Reprocessed:
            letter = await uow.dead_letters.get(letter_id)
            if letter is None:
                raise LetterNotFound(letter_id)
            if letter.media_id is None:
                raise MediaNotFound(f"named by dead letter {letter_id}, which is unreadable")
            done = await self._reprocess(uow, letter.media_id)
            if done.moved and not dry_run:
                await uow.dead_letters.mark_replayed(letter_id)
                await uow.commit()
            return done

        return await transact(self._database, work)

    async def _reprocess(self, uow: UnitOfWork, media_id: str) -> Reprocessed:
        media = await uow.media.get(media_id, lock=True)
        if media is None:
            raise MediaNotFound(media_id)
        if verdict(media.state, Trigger.REPROCESS) is not Verdict.MOVED:
            return Reprocessed(media, moved=False)
        change = media.reprocess(now=uow.now, policy=self._policy)
        again = change.media
        await uow.media.save(again)
        await uow.enqueue(ProcessRequest(again.id, again.lease_token, again.traceparent))
        return Reprocessed(again, moved=True)
