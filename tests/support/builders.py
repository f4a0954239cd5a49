"""Test data: a media in each state, brought there by its own verbs."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from application.messages import ProcessRequest
from application.ports import DeadLetter
from domain.failure import FailureCode
from domain.lifecycle import State
from domain.media import Change, Media
from domain.parts import Original, Placeholder, Result, Variant
from domain.retry_policy import RetryPolicy

NOW = datetime(2026, 3, 4, 5, 6, 7, 891011, tzinfo=UTC)
POLICY = RetryPolicy()
LEASE_SECONDS = 15.0
TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def ulid(number: int) -> str:
    """A well-formed media id that sorts by `number`."""
    return f"{number:026d}"


def request(number: int = 1, *, token: int = 0, traceparent: str | None = None) -> ProcessRequest:
    return ProcessRequest(ulid(number), token, traceparent)


def letter(number: int = 1, *, received_at: datetime = NOW, body: bytes = b"?") -> DeadLetter:
    return DeadLetter(
        id=f"letter-{number}",
        received_at=received_at,
        reason="rejected",
        media_id=ulid(number),
        body=body,
    )


def result(media_id: str, token: int) -> Result:
    """What one finished attempt leaves; every field filled."""
    variant = Variant(
        name="thumb",
        key=f"media/{media_id}/{token}/thumb.webp",
        content_type="image/webp",
        width=256,
        height=192,
        bytes=1234,
        sha256="ab" * 32,
        recipe="0123456789ab",
    )
    return Result(
        original=Original(sha256="cd" * 32, width=4000, height=3000, format="JPEG"),
        variants=(variant, replace(variant, name="small", width=512, height=384)),
        placeholder=Placeholder(thumbhash="1QcSHQRnh493V4dIh4eXh1h4kJUI", average_color="#aabbcc"),
    )


def pending(number: int = 1, *, now: datetime = NOW) -> Media:
    return Media.request(
        media_id=ulid(number),
        file_name="Ünïcode 'quoted' \N{CAMERA}.jpg",
        content_type="image/jpeg",
        extension="jpg",
        now=now,
        upload_seconds=900.0,
        declared_bytes=2_097_152,
        declared_sha256="47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=",
    )


def uploaded(number: int = 1, *, now: datetime = NOW) -> Media:
    media = pending(number, now=now)
    return media.complete_upload(
        now=now, policy=POLICY, etag="d41d8-1", size=2_097_152, traceparent=TRACEPARENT
    ).media


def sent_again(number: int = 1, *, now: datetime = NOW) -> Media:
    """Uploaded, its message presumed lost and enqueued a second time."""
    return overdue(uploaded(number, now=now), now=now).requeue(now=now, policy=POLICY).media


def claim(media: Media, *, now: datetime = NOW, worker_id: str = "worker-1") -> Change:
    return media.start_processing(
        now=now, policy=POLICY, worker_id=worker_id, lease_seconds=LEASE_SECONDS
    )


def processing(number: int = 1, *, now: datetime = NOW) -> Media:
    return claim(uploaded(number, now=now), now=now).media


def retry(
    media: Media,
    *,
    now: datetime = NOW,
    charged: bool = True,
    code: FailureCode = FailureCode.INTERNAL_ERROR,
) -> Change:
    return media.schedule_retry(
        now=now,
        policy=POLICY,
        token=media.lease_token,
        delay_seconds=2.0,
        charged=charged,
        code=code if charged else FailureCode.STORAGE_UNAVAILABLE,
        detail="A reason.",
    )


def retrying(number: int = 1, *, now: datetime = NOW) -> Media:
    return retry(processing(number, now=now), now=now).media


def finish(media: Media, *, now: datetime = NOW) -> Change:
    token = media.lease_token
    return media.finish_processing(
        now=now, policy=POLICY, token=token, result=result(media.id, token)
    )


def ready(number: int = 1, *, now: datetime = NOW) -> Media:
    return finish(processing(number, now=now), now=now).media


def fail(
    media: Media, *, now: datetime = NOW, code: FailureCode = FailureCode.IMAGE_TRUNCATED
) -> Change:
    token = media.lease_token if media.state is State.PROCESSING else None
    return media.fail(now=now, policy=POLICY, token=token, code=code, detail="A reason.")


def failed(
    number: int = 1, *, now: datetime = NOW, code: FailureCode = FailureCode.IMAGE_TRUNCATED
) -> Media:
    return fail(processing(number, now=now), now=now, code=code).media


def expired(number: int = 1, *, now: datetime = NOW) -> Media:
    media = pending(number, now=now)
    assert media.deadline_at is not None
    return media.expire(now=media.deadline_at).media


def deleted(number: int = 1, *, now: datetime = NOW) -> Media:
    # No verb leads here yet.
    return replace(ready(number, now=now), state=State.DELETED)


_IN_STATE = {
    State.PENDING_UPLOAD: pending,
    State.UPLOADED: uploaded,
    State.PROCESSING: processing,
    State.RETRYING: retrying,
    State.READY: ready,
    State.FAILED: failed,
    State.EXPIRED: expired,
    State.DELETED: deleted,
}


def in_state(state: State, number: int = 1, *, now: datetime = NOW) -> Media:
    return _IN_STATE[state](number, now=now)


def overdue(media: Media, *, seconds: float = 1.0, now: datetime = NOW) -> Media:
    """The same media, its deadline `seconds` before `now`."""
    return replace(media, deadline_at=now - timedelta(seconds=seconds))
