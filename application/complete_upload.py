"""The client says its photo is there: pin the object, and order its processing."""

from dataclasses import dataclass

from application.messages import ProcessRequest
from application.ports import Database, ObjectStore, UnitOfWork
from application.transactions import transact
from application.values import StoredObject
from domain.errors import MediaNotFound, OriginalKeyMismatch, UploadExpired, UploadMissing
from domain.lifecycle import State
from domain.media import Media
from domain.retry_policy import RetryPolicy


@dataclass(frozen=True, slots=True)
class Completion:
    """The media as it is now. `accepted` is False where this call was a repetition."""

    media: Media
    accepted: bool


class CompleteUpload:
    """Moves a media to UPLOADED and enqueues it in the same commit; once, however often called."""

    def __init__(
        self, *, database: Database, store: ObjectStore, policy: RetryPolicy, max_bytes: int
    ) -> None:
        self._database = database
        self._store = store
        self._policy = policy
        self._max_bytes = max_bytes

    async def __call__(
        self, *, media_id: str, original_key: str, traceparent: str | None
    ) -> Completion:
        """Raises the `Rejected` that fits, or `Unavailable`; then nothing has changed, or, if
        a commit went unanswered, everything has, and repeating the call tells.
        """
        async with self._database.begin() as uow:
            media = _checked(await uow.media.get(media_id), media_id, original_key)
        if not media.needs_upload:
            return Completion(media, accepted=False)
        stored = await self._store.head(original_key)
        if stored is None:
            raise UploadMissing(media_id)
        media.check_upload(stored.size, self._max_bytes)

        async def accept(uow: UnitOfWork) -> Completion:
            return await self._accept(uow, media_id, original_key, stored, traceparent)

        return await transact(self._database, accept)

    async def _accept(
        self,
        uow: UnitOfWork,
        media_id: str,
        original_key: str,
        stored: StoredObject,
        traceparent: str | None,
    ) -> Completion:
        media = _checked(await uow.media.get(media_id, lock=True), media_id, original_key)
        change = media.complete_upload(
            now=uow.now,
            policy=self._policy,
            etag=stored.etag,
            size=stored.size,
            traceparent=traceparent,
        )
        if change.moved:
            await uow.media.save(change.media)
            await uow.enqueue(ProcessRequest(media_id, change.media.lease_token, traceparent))
            await uow.commit()
        return Completion(change.media, accepted=change.moved)


def _checked(media: Media | None, media_id: str, original_key: str) -> Media:
    if media is None or media.state is State.DELETED:
        raise MediaNotFound(media_id)
    if media.original_key != original_key:
        raise OriginalKeyMismatch(media_id)
    if media.state is State.EXPIRED:
        raise UploadExpired(media_id)
    return media
