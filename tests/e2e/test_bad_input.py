"""Whatever is sent, the answer is a reason, and nobody is kept from working."""

import json
import struct
import zlib

import aiohttp
import pytest

from adapters.opentelemetry.instruments import PROCESSED
from application.messages import BODY_BYTES_MAX, ProcessRequest, encode
from domain.media import Media
from domain.retry_policy import RetryPolicy
from tests.e2e.asking import dead_letters, measured, nothing_waits, stored
from tests.e2e.photos import draw
from tests.e2e.sending import finished, uploaded
from tests.images.drawing import encoded, scene
from tests.support.builders import ulid
from tests.support.systems import System
from tests.support.waiting import eventually

pytestmark = pytest.mark.anyio

PHOTO = draw(100)


def png_header(width: int, height: int) -> bytes:
    """A PNG of 65 bytes that claims any size."""
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))]
    chunks += [(b"IDAT", zlib.compress(b"")), (b"IEND", b"")]
    png = b"\x89PNG\r\n\x1a\n"
    for kind, data in chunks:
        crc = struct.pack(">I", zlib.crc32(kind + data))
        png += struct.pack(">I", len(data)) + kind + data + crc
    return png


@pytest.mark.parametrize(
    ("photo", "content_type", "code"),
    [
        pytest.param(
            encoded(scene(64, 64), "PNG"), "image/jpeg", "content-type-mismatch", id="png"
        ),
        pytest.param(b"This is no picture." * 9, "image/jpeg", "unsupported-format", id="text"),
        pytest.param(b"", "image/jpeg", "unsupported-format", id="empty"),
        pytest.param(PHOTO[: len(PHOTO) // 2], "image/jpeg", "image-truncated", id="half"),
        pytest.param(png_header(20_000, 20_000), "image/png", "too-many-pixels", id="huge"),
    ],
)
async def test_a_file_that_is_no_usable_photo_fails_at_once_and_says_why(
    system: System, photo: bytes, content_type: str, code: str
) -> None:
    document = await finished(system, photo, content_type=content_type)
    assert document["status"] == "FAILED", document
    assert document["failure"]["code"] == code, document["failure"]
    assert document["failure"]["retryable"] is False
    assert document["failure"]["detail"]
    assert document["variants"] == []
    media = await stored(system, document["media_id"])
    (attempt,) = media.attempts
    assert attempt.finished_at is not None
    assert (attempt.finished_at - attempt.started_at).total_seconds() < 1.0


async def test_a_header_of_65_bytes_is_all_that_the_largest_picture_takes() -> None:
    assert len(png_header(20_000, 20_000)) == 65


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"hello", id="no JSON"),
        pytest.param(b"\xff\x00\xfe", id="no text"),
        pytest.param(b"", id="nothing"),
        pytest.param(json.dumps({"version": 99, "media_id": ulid(1)}).encode(), id="version 99"),
        pytest.param(json.dumps({"version": 1, "token": 0}).encode(), id="no media"),
        pytest.param(b" " * (BODY_BYTES_MAX + 1), id="too long"),
    ],
)
async def test_a_message_that_is_not_ours_is_kept_and_shown_and_not_tried_again(
    system: System, body: bytes
) -> None:
    (worker,) = system.workers
    known = {letter.id for letter in await dead_letters(system)}
    before = await measured(worker, PROCESSED, outcome="malformed")
    await system.publish_raw((body, {}))

    async def kept() -> list[bytes]:
        return [letter.body for letter in await dead_letters(system) if letter.id not in known]

    assert await eventually(kept) == [body[:BODY_BYTES_MAX]]
    assert (await finished(system, draw(101)))["status"] == "READY"
    assert await kept() == [body[:BODY_BYTES_MAX]]
    assert await measured(worker, PROCESSED, outcome="malformed") == before + 1


async def test_a_dead_letter_says_what_is_wrong_with_it(system: System) -> None:
    await system.publish_raw((b'{"version":2}', {}))

    async def reasons() -> list[str]:
        letters = await dead_letters(system)
        return [letter.reason for letter in letters if letter.body == b'{"version":2}']

    assert await eventually(reasons) == ["message version 2 is unknown; this release knows 1"]


async def test_a_message_for_a_media_that_does_not_exist_is_acked_and_counted(
    system: System,
) -> None:
    (worker,) = system.workers
    letters = len(await dead_letters(system))
    before = await measured(worker, PROCESSED, outcome="unknown")
    await system.publish(ProcessRequest(ulid(404), 0))

    async def more() -> float:
        return await measured(worker, PROCESSED, outcome="unknown") - before

    assert await eventually(more) == 1
    assert (await finished(system, draw(102)))["status"] == "READY"
    assert await more() == 1
    assert len(await dead_letters(system)) == letters


async def test_a_message_for_a_photo_that_is_not_complete_is_acked_told_and_harms_nothing(
    system: System,
) -> None:
    (worker,) = system.workers
    letters = len(await dead_letters(system))
    before = await measured(worker, PROCESSED, outcome="early")
    ticket = await uploaded(system, draw(105))
    await system.publish(ProcessRequest(ticket["media_id"], 0))

    async def more() -> float:
        return await measured(worker, PROCESSED, outcome="early") - before

    assert await eventually(more) == 1
    told = [event["media_id"] for event in worker.events("message_not_asked_for")]
    assert told.count(ticket["media_id"]) == 1
    await system.client().complete(ticket)
    assert (await system.client().finished(ticket["media_id"]))["status"] == "READY"
    assert await more() == 1
    assert len(await dead_letters(system)) == letters


async def test_a_message_with_a_broken_trace_header_is_processed_all_the_same(
    system: System,
) -> None:
    media = await _accepted_without_a_message(system)
    body, _ = encode(ProcessRequest(media.id, media.lease_token))
    await system.publish_raw((body, {"traceparent": "00-broken", "other": "x"}))
    document = await system.client().finished(media.id)
    assert document["status"] == "READY", document
    assert (await stored(system, media.id)).requeues == 0


async def test_a_client_with_a_broken_trace_header_is_served_all_the_same(system: System) -> None:
    ticket = await uploaded(system, draw(104))
    body = {name: ticket[name] for name in ("media_id", "original_key")}
    async with system.session.post(
        f"{system.url}/complete-upload", json=body, headers={"traceparent": "99-zz-zz-zz"}
    ) as answer:
        assert answer.status == 202
    assert (await system.client().finished(ticket["media_id"]))["status"] == "READY"
    await nothing_waits(system)


@pytest.mark.parametrize("size", [8_000, 60_000, 1_000_000])
async def test_a_client_with_a_huge_trace_header_harms_nobody(system: System, size: int) -> None:
    ticket = await uploaded(system, draw(105))
    body = {name: ticket[name] for name in ("media_id", "original_key")}
    headers = {"traceparent": "0" * size, "tracestate": "0" * size}
    try:
        async with system.session.post(
            f"{system.url}/complete-upload", json=body, headers=headers
        ) as answer:
            assert answer.status in {202, 400, 431}
    except aiohttp.ClientError:
        pass  # hung up on: as good an answer
    await system.client().complete(ticket)
    assert (await system.client().finished(ticket["media_id"]))["status"] == "READY"


async def _accepted_without_a_message(system: System) -> Media:
    """A photo that is UPLOADED while its work order was never written."""
    ticket = await uploaded(system, draw(103))
    seen = await system.inside.store.head(ticket["original_key"])
    assert seen is not None
    async with system.inside.database.begin() as uow:
        media = await uow.media.get(ticket["media_id"], lock=True)
        assert media is not None
        change = media.complete_upload(
            now=uow.now, policy=RetryPolicy(), etag=seen.etag, size=seen.size, traceparent=None
        )
        await uow.media.save(change.media)
        await uow.commit()
    return change.media
