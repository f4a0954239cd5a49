"""Asking for a link, completing the upload, and what happens to those that nobody completes."""

import asyncio
import base64
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import pytest

from domain.errors import (
    InvalidUpload,
    MediaNotFound,
    OriginalKeyMismatch,
    StoreUnavailable,
    UnsupportedContentType,
    UploadExpired,
    UploadMissing,
    UploadSizeMismatch,
    UploadTooLarge,
)
from domain.lifecycle import State
from domain.media import SLOWEST_UPLOAD_SECONDS, UPLOAD_GRACE_SECONDS
from tests.support.builders import TRACEPARENT, ulid
from tests.support.pipeline import MAX_BYTES, PHOTO, Pipeline, pipeline_at

pytestmark = pytest.mark.anyio

LINK_SECONDS = 900


@pytest.fixture
async def pipeline(tmp_path: Path) -> AsyncGenerator[Pipeline]:
    async with pipeline_at(tmp_path) as made:
        yield made


async def test_a_ticket_says_all_that_the_client_must_send(pipeline: Pipeline) -> None:
    ticket = await pipeline.request_upload(content_type="image/png", file_name="a.jpg")

    assert ticket.media.state is State.PENDING_UPLOAD
    assert ticket.media.original_key == f"media/{ticket.media.id}/original.png"
    assert ticket.headers == {"Content-Type": "image/png"}
    assert ticket.max_bytes == MAX_BYTES


@pytest.mark.parametrize(
    ("field", "fields"),
    [
        ("file_name", {"file_name": ""}),
        ("file_name", {"file_name": "x" * 256}),
        ("file_name", {"file_name": "a\x00b"}),
        ("size_bytes", {"size_bytes": 0}),
        ("size_bytes", {"size_bytes": MAX_BYTES + 1}),
        ("checksum_sha256", {"checksum_sha256": "no base64"}),
        ("checksum_sha256", {"checksum_sha256": "A" * 42 + "B="}),  # decodes, as ...A= does
        ("checksum_sha256", {"checksum_sha256": base64.b64encode(b"short").decode()}),
    ],
)
async def test_a_request_that_breaks_a_rule_is_refused_by_field(
    pipeline: Pipeline, field: str, fields: dict[str, Any]
) -> None:
    complete: dict[str, Any] = {"file_name": "a.jpg", **fields}

    with pytest.raises(InvalidUpload) as refused:
        await pipeline.request_upload(content_type="image/jpeg", **complete)

    assert refused.value.field == field
    assert pipeline.database.tables.media == {}


async def test_an_unsupported_type_is_refused_with_those_supported(pipeline: Pipeline) -> None:
    with pytest.raises(UnsupportedContentType, match="image/jpeg, image/png"):
        await pipeline.request_upload(content_type="image/heic", file_name="a.heic")


async def test_completing_pins_the_object_and_enqueues_it_in_one_commit(
    pipeline: Pipeline,
) -> None:
    ticket = await pipeline.ticket()

    completion = await pipeline.complete(ticket)

    media = completion.media
    assert completion.accepted
    assert (media.state, media.original_bytes) == (State.UPLOADED, len(PHOTO))
    assert media.etag == pipeline.store.objects[media.original_key].etag
    (entry,) = pipeline.database.tables.outbox.values()
    assert entry.row.request.media_id == media.id
    assert entry.row.request.traceparent == TRACEPARENT


async def test_completing_again_changes_nothing(pipeline: Pipeline) -> None:
    ticket = await pipeline.ticket()
    first = await pipeline.complete(ticket)

    again = await pipeline.complete(ticket)

    assert (again.media, again.accepted) == (first.media, False)
    assert len(pipeline.database.tables.outbox) == 1


async def test_of_many_completions_at_once_exactly_one_is_accepted(pipeline: Pipeline) -> None:
    ticket = await pipeline.ticket()

    completions = await asyncio.gather(*(pipeline.complete(ticket) for _ in range(9)))

    assert sorted(completion.accepted for completion in completions) == [False] * 8 + [True]
    assert len(pipeline.database.tables.outbox) == 1


async def test_completing_an_unknown_media_is_refused(pipeline: Pipeline) -> None:
    with pytest.raises(MediaNotFound):
        await pipeline.complete_upload(
            media_id=ulid(99), original_key="media/x/original.jpg", traceparent=None
        )


async def test_completing_with_another_key_is_refused(pipeline: Pipeline) -> None:
    ticket = await pipeline.ticket()

    with pytest.raises(OriginalKeyMismatch):
        await pipeline.complete_upload(
            media_id=ticket.media.id, original_key="media/x/original.jpg", traceparent=None
        )


async def test_completing_before_the_upload_is_refused_and_may_be_tried_again(
    pipeline: Pipeline,
) -> None:
    ticket = await pipeline.ticket(body=None)
    with pytest.raises(UploadMissing):
        await pipeline.complete(ticket)

    pipeline.store.put(ticket.url, PHOTO, ticket.headers)

    assert (await pipeline.complete(ticket)).accepted


async def test_an_object_over_the_limit_is_refused_and_the_state_kept(pipeline: Pipeline) -> None:
    ticket = await pipeline.ticket(b"x" * (MAX_BYTES + 1))

    with pytest.raises(UploadTooLarge):
        await pipeline.complete(ticket)

    assert (await pipeline.media(ticket.media.id)).state is State.PENDING_UPLOAD


async def test_an_object_of_another_size_than_declared_is_refused(pipeline: Pipeline) -> None:
    ticket = await pipeline.request_upload(
        content_type="image/jpeg", file_name="a.jpg", size_bytes=len(PHOTO) + 1
    )
    pipeline.store.store(ticket.media.original_key, PHOTO, "image/jpeg")

    with pytest.raises(UploadSizeMismatch):
        await pipeline.complete(ticket)


async def test_a_store_that_is_down_leaves_nothing_half_done(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    ticket = await pipeline.ticket()

    async def unavailable(_: str) -> None:
        raise StoreUnavailable("no answer")

    monkeypatch.setattr(pipeline.store, "head", unavailable)
    with pytest.raises(StoreUnavailable):
        await pipeline.complete(ticket)
    monkeypatch.undo()

    assert (await pipeline.media(ticket.media.id)).state is State.PENDING_UPLOAD
    assert (await pipeline.complete(ticket)).accepted


async def test_an_abandoned_upload_expires_and_its_object_is_removed(pipeline: Pipeline) -> None:
    ticket = await pipeline.ticket()
    pipeline.clock.advance(LINK_SECONDS + UPLOAD_GRACE_SECONDS)

    assert await pipeline.expire_uploads() == 1
    pipeline.clock.advance(SLOWEST_UPLOAD_SECONDS - 1)
    assert await pipeline.sweep_objects() == 0
    pipeline.clock.advance(1)
    assert await pipeline.sweep_objects() == 1

    assert (await pipeline.media(ticket.media.id)).state is State.EXPIRED
    assert pipeline.keys() == []
    with pytest.raises(UploadExpired):
        await pipeline.complete(ticket)


async def test_an_upload_is_not_expired_before_its_time(pipeline: Pipeline) -> None:
    await pipeline.ticket()
    pipeline.clock.advance(LINK_SECONDS + UPLOAD_GRACE_SECONDS - 1)

    assert await pipeline.expire_uploads() == 0


async def test_a_photo_completed_late_is_safe_from_expiry(pipeline: Pipeline) -> None:
    ticket = await pipeline.ticket()
    pipeline.clock.advance(LINK_SECONDS + UPLOAD_GRACE_SECONDS)
    await pipeline.complete(ticket)

    assert await pipeline.expire_uploads() == 0

    assert (await pipeline.media(ticket.media.id)).state is State.UPLOADED


async def test_more_abandoned_uploads_than_a_page_all_expire(pipeline: Pipeline) -> None:
    for _ in range(250):
        await pipeline.ticket(body=None)
    pipeline.clock.advance(LINK_SECONDS + UPLOAD_GRACE_SECONDS)

    assert await pipeline.expire_uploads() == 250
