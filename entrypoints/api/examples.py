"""What the OpenAPI document shows: real documents of one imagined photo, made by its own verbs."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from application.request_upload import UploadTicket
from domain.failure import FailureCode
from domain.media import Media
from domain.parts import Original, Placeholder, Result, Variant
from domain.retry_policy import RetryPolicy
from entrypoints.api.documents import media_document, upload_ticket

MEDIA_ID = "01JD7Z4Q8M3E5RTY2KXW9ABCDF"
ORIGINAL_KEY = f"media/{MEDIA_ID}/original.jpg"
ORIGINAL_BYTES = 2_097_152
MAX_BYTES = 52_428_800
TRACEPARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"

_BEGIN = datetime(2026, 3, 4, 10, 0, tzinfo=UTC)
_POLICY = RetryPolicy()
_STORE = "https://store.example.com/media"
_SIZES = {"large": (2048, 1536, 301_234), "thumb": (256, 192, 9_876)}


def upload_request() -> dict[str, Any]:
    return {"content_type": "image/jpeg", "file_name": "test.jpg"}


def strict_upload_request() -> dict[str, Any]:
    return {
        **upload_request(),
        "size_bytes": ORIGINAL_BYTES,
        "checksum_sha256": "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=",
    }


def completion_request() -> dict[str, Any]:
    return {"media_id": MEDIA_ID, "original_key": ORIGINAL_KEY}


def ticket() -> dict[str, Any]:
    made = UploadTicket(
        media=_requested(),
        url=f"{_STORE}/{ORIGINAL_KEY}?X-Amz-Signature=0123abcd",
        headers={"Content-Type": "image/jpeg"},
        max_bytes=MAX_BYTES,
    )
    return msgspec.to_builtins(upload_ticket(made))


def media_documents() -> Mapping[str, dict[str, Any]]:
    """A document for each kind of state, by the name of the state."""
    media = (_requested(), _uploaded(), _retrying(), _ready(), _failed())
    return {one.state.value: _document(one) for one in media}


def _at(seconds: float) -> datetime:
    return _BEGIN + timedelta(seconds=seconds)


def _document(media: Media) -> dict[str, Any]:
    document = media_document(
        media,
        urls={one.name: f"{_STORE}/{one.key}?X-Amz-Signature=0123abcd" for one in media.variants},
        expires_at=_at(3600),
        attempts_max=_POLICY.attempts_max,
    )
    return msgspec.to_builtins(document)


def _requested() -> Media:
    return Media.request(
        media_id=MEDIA_ID,
        file_name="test.jpg",
        content_type="image/jpeg",
        extension="jpg",
        now=_BEGIN,
        upload_seconds=900,
    )


def _uploaded() -> Media:
    change = _requested().complete_upload(
        now=_at(2), policy=_POLICY, etag="0123abcd", size=ORIGINAL_BYTES, traceparent=TRACEPARENT
    )
    return change.media


def _processing() -> Media:
    change = _uploaded().start_processing(
        now=_at(2.02), policy=_POLICY, worker_id="worker-k3q7", lease_seconds=15
    )
    return change.media


def _retrying() -> Media:
    change = _processing().schedule_retry(
        now=_at(2.3),
        policy=_POLICY,
        token=1,
        delay_seconds=1.7,
        charged=True,
        code=FailureCode.DECODE_TIMEOUT,
        detail="Decoding took longer than 30 s.",
    )
    return change.media


def _ready() -> Media:
    original = Original(sha256="0f" * 32, width=4000, height=3000, format="JPEG")
    placeholder = Placeholder(thumbhash="1QcSHQRnh493V4dIh4eXh1h4kJUI", average_color="#aabbcc")
    variants = tuple(
        Variant(
            name=name,
            key=f"media/{MEDIA_ID}/1/{name}.webp",
            content_type="image/webp",
            width=width,
            height=height,
            bytes=size,
            sha256="a1" * 32,
            recipe="0123456789ab",
        )
        for name, (width, height, size) in _SIZES.items()
    )
    result = Result(original=original, variants=variants, placeholder=placeholder)
    return (
        _processing().finish_processing(now=_at(2.4), policy=_POLICY, token=1, result=result).media
    )


def _failed() -> Media:
    change = _processing().fail(
        now=_at(2.1),
        policy=_POLICY,
        token=1,
        code=FailureCode.IMAGE_TRUNCATED,
        detail="The file ends in the middle of the picture.",
    )
    return change.media
