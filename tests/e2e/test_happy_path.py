"""A photo goes through the four public calls, on real processes."""

import asyncio
import base64
import hashlib
from io import BytesIO

import pytest
from PIL import Image

from tests.e2e.photos import draw
from tests.e2e.sending import finished, uploaded
from tests.support.systems import System

pytestmark = pytest.mark.anyio


async def test_a_photo_becomes_ready_with_variants_that_are_the_images_they_claim_to_be(
    system: System,
) -> None:
    photo = draw(1, width=2400, height=1800)
    document = await finished(system, photo)
    assert document["status"] == "READY", document
    assert document["original"] == {
        "bytes": len(photo),
        "sha256": hashlib.sha256(photo).hexdigest(),
        "width": 2400,
        "height": 1800,
        "format": "JPEG",
    }
    widths = {variant["name"]: variant["width"] for variant in document["variants"]}
    assert widths == {"large": 2048, "medium": 1024, "small": 512, "thumb": 256}
    for variant in document["variants"]:
        async with system.session.get(variant["url"]) as answer:
            body = await answer.read()
            assert answer.status == 200
            assert answer.headers["Content-Type"] == variant["content_type"] == "image/webp"
        assert len(body) == variant["bytes"]
        assert hashlib.sha256(body).hexdigest() == variant["sha256"]
        with Image.open(BytesIO(body)) as picture:
            picture.load()
            assert picture.format == "WEBP"
            assert picture.size == (variant["width"], variant["height"])


async def test_the_final_url_is_the_largest_variant_and_the_placeholder_is_there(
    system: System,
) -> None:
    document = await finished(system, draw(2))
    largest = max(document["variants"], key=lambda variant: variant["width"])
    async with system.session.get(document["final_url"]) as answer:
        assert hashlib.sha256(await answer.read()).hexdigest() == largest["sha256"]
    assert base64.b64decode(document["placeholder"]["thumbhash"])
    assert document["placeholder"]["average_color"].startswith("#")
    assert document["failure"] is None
    assert len(document["trace_id"]) == 32


async def test_the_stable_link_of_a_variant_leads_to_its_bytes(system: System) -> None:
    document = await finished(system, draw(3))
    for variant in document["variants"]:
        stable = f"{system.url}/media/{document['media_id']}/variants/{variant['name']}"
        async with system.session.get(stable, allow_redirects=False) as answer:
            assert answer.status == 302
        async with system.session.get(stable) as answer:
            assert hashlib.sha256(await answer.read()).hexdigest() == variant["sha256"]


async def test_a_photo_whose_size_and_checksum_are_declared_goes_through(system: System) -> None:
    photo = draw(4)
    checksum = base64.b64encode(hashlib.sha256(photo).digest()).decode()
    document = await finished(system, photo, size_bytes=len(photo), checksum_sha256=checksum)
    assert document["status"] == "READY", document


async def test_a_file_name_of_any_language_is_kept_as_a_label(system: System) -> None:
    name = "Ferien in Sète, été 2025 🏖️/../写真 'x'.jpg"
    document = await finished(system, draw(5), file_name=name)
    assert document["status"] == "READY", document
    assert document["file_name"] == name
    assert document["original_key"] == f"media/{document['media_id']}/original.jpg"


async def test_completing_five_times_in_a_row_processes_once(system: System) -> None:
    client = system.client()
    ticket = await uploaded(system, draw(6))
    for _ in range(5):
        answer = await client.complete(ticket)
        assert answer["status"] in {"UPLOADED", "PROCESSING", "READY"}
    await client.finished(ticket["media_id"])
    assert (await client.complete(ticket))["status"] == "READY"
    await assert_processed_once(system, ticket["media_id"])


async def test_completing_twenty_times_at_once_processes_once(system: System) -> None:
    client = system.client()
    ticket = await uploaded(system, draw(7))
    answers = await asyncio.gather(*(client.complete(ticket) for _ in range(20)))
    assert {answer["media_id"] for answer in answers} == {ticket["media_id"]}
    await client.finished(ticket["media_id"])
    await assert_processed_once(system, ticket["media_id"])


async def assert_processed_once(system: System, media_id: str) -> None:
    document = await system.client().media(media_id)
    assert document["status"] == "READY", document
    assert [attempt["outcome"] for attempt in document["attempts"]] == ["succeeded"]
    async with system.inside.database.begin() as uow:
        media = await uow.media.get(media_id)
    assert media is not None
    assert (media.attempt, media.lease_token) == (1, 1)
    expected = [media.original_key, *(variant.key for variant in media.variants)]
    assert await system.inside.store.list_keys(f"media/{media_id}/") == sorted(expected)
    assert {variant.key.split("/")[2] for variant in media.variants} == {"1"}
