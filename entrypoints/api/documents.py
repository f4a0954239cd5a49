"""What clients get: the documents of the HTTP contract, built from domain values.

Not known yet is `null`. `original` is null until the upload is completed; from then on its
`bytes` are known, the other fields when the photo is READY.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated

from msgspec import Meta, Struct

from application.messages import trace_id_of
from application.request_upload import UploadTicket
from domain.failure import Failure, FailureCode
from domain.lifecycle import State
from domain.media import Media
from domain.parts import Attempt, Outcome, Placeholder, Variant

Time = Annotated[datetime, Meta(tz=True)]
Sha256 = Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]
TraceId = Annotated[str, Meta(pattern="^[0-9a-f]{32}$")]
MediaId = Annotated[str, Meta(pattern="^[0-9A-HJKMNP-TV-Z]{26}$")]


class UploadTicketDocument(Struct):
    """All that a client needs for its PUT."""

    media_id: MediaId
    upload_url: str
    original_key: str
    upload_headers: Annotated[
        Mapping[str, str], Meta(description="Every header the client must send with its PUT.")
    ]
    expires_at: Time
    max_bytes: Annotated[int, Meta(description="The largest original accepted.")]


class OriginalDocument(Struct):
    """The uploaded file. Width and height in pixels, after orientation."""

    bytes: int
    sha256: Sha256 | None
    width: int | None
    height: int | None
    format: str | None


class VariantDocument(Struct):
    """One finished picture. The link is signed for this answer and expires."""

    name: str
    url: str
    content_type: str
    width: int
    height: int
    bytes: int
    sha256: Sha256


class PlaceholderDocument(Struct):
    """What to show until a variant has loaded."""

    thumbhash: str
    average_color: Annotated[str, Meta(pattern="^#[0-9a-f]{6}$")]


class AttemptDocument(Struct):
    """One try at the photo, charged or not. `outcome` is null while it runs."""

    number: int
    worker_id: str
    started_at: Time
    finished_at: Time | None
    outcome: Outcome | None
    error_code: FailureCode | None
    detail: str | None


class FailureDocument(Struct):
    """Why the photo is FAILED; `retryable` if the same bytes could fare better another time."""

    code: FailureCode
    title: str
    detail: str
    retryable: bool
    attempt: int


class MediaDocument(Struct):
    """Where a photo stands, and all that is known of it."""

    media_id: MediaId
    status: State
    final_url: str | None
    final_url_expires_at: Time | None
    file_name: str
    content_type: str
    original_key: str
    created_at: Time
    updated_at: Time
    original: OriginalDocument | None
    variants: list[VariantDocument]
    placeholder: PlaceholderDocument | None
    attempt: int
    attempts_max: int
    next_attempt_at: Time | None
    attempts: list[AttemptDocument]
    failure: FailureDocument | None
    trace_id: TraceId | None


def upload_ticket(ticket: UploadTicket) -> UploadTicketDocument:
    media = ticket.media
    return UploadTicketDocument(
        media_id=media.id,
        upload_url=ticket.url,
        original_key=media.original_key,
        upload_headers=ticket.headers,
        expires_at=media.upload_expires_at,
        max_bytes=ticket.max_bytes,
    )


def largest(variants: tuple[Variant, ...]) -> Variant | None:
    """The variant with the most pixels; the one `final_url` leads to."""
    return max(variants, key=lambda variant: variant.width * variant.height, default=None)


def media_document(
    media: Media, *, urls: Mapping[str, str], expires_at: datetime, attempts_max: int
) -> MediaDocument:
    """`urls` holds a link for each variant's name; all of them work until `expires_at`."""
    final = largest(media.variants)
    return MediaDocument(
        media_id=media.id,
        status=media.state,
        final_url=urls[final.name] if final else None,
        final_url_expires_at=expires_at if final else None,
        file_name=media.file_name,
        content_type=media.content_type,
        original_key=media.original_key,
        created_at=media.created_at,
        updated_at=media.updated_at,
        original=_original(media),
        variants=[_variant(variant, urls[variant.name]) for variant in media.variants],
        placeholder=_placeholder(media.placeholder),
        attempt=media.attempt,
        attempts_max=attempts_max,
        next_attempt_at=media.next_attempt_at,
        attempts=[_attempt(attempt) for attempt in media.attempts],
        failure=_failure(media.failure),
        trace_id=trace_id_of(media.traceparent),
    )


def _original(media: Media) -> OriginalDocument | None:
    if media.original_bytes is None:
        return None
    known = media.original
    return OriginalDocument(
        bytes=media.original_bytes,
        sha256=known.sha256 if known else None,
        width=known.width if known else None,
        height=known.height if known else None,
        format=known.format if known else None,
    )


def _variant(variant: Variant, url: str) -> VariantDocument:
    return VariantDocument(
        name=variant.name,
        url=url,
        content_type=variant.content_type,
        width=variant.width,
        height=variant.height,
        bytes=variant.bytes,
        sha256=variant.sha256,
    )


def _placeholder(known: Placeholder | None) -> PlaceholderDocument | None:
    return PlaceholderDocument(known.thumbhash, known.average_color) if known else None


def _attempt(attempt: Attempt) -> AttemptDocument:
    return AttemptDocument(
        number=attempt.number,
        worker_id=attempt.worker_id,
        started_at=attempt.started_at,
        finished_at=attempt.finished_at,
        outcome=attempt.outcome,
        error_code=attempt.error_code,
        detail=attempt.detail,
    )


def _failure(failure: Failure | None) -> FailureDocument | None:
    if failure is None:
        return None
    return FailureDocument(
        code=failure.code,
        title=failure.title,
        detail=failure.detail,
        retryable=failure.retryable,
        attempt=failure.attempt,
    )
