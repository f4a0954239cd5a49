"""The embedded set's signed links: they answer as a store would."""

import asyncio
import base64
import hashlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.api.client import PHOTO, Api, Json, assert_problem
from tests.api.conformity import Reply
from tests.api.conftest import MAX_BYTES
from tests.support.waiting import eventually

pytestmark = pytest.mark.anyio

KEY = "media/01JD7Z4Q8M3E5RTY2KXW9ABCDF/original.jpg"


async def put(
    api: Api, ticket: Json, body: bytes | AsyncIterator[bytes] = PHOTO, **more: Any
) -> Reply:
    return await api.send("PUT", ticket["upload_url"], body, ticket["upload_headers"], **more)


async def download_url(api: Api, key: str = KEY, seconds: int = 60) -> str:
    return await api.stores.signer.download_url(key, expires_seconds=seconds)


async def stored(api: Api, body: bytes, key: str = KEY) -> str:
    """A link to an object."""
    await api.put_object(key, body)
    return await download_url(api, key)


async def test_what_was_put_can_be_completed(embedded: Api) -> None:
    ticket = await embedded.ticket()

    reply = await put(embedded, ticket)

    assert (reply.status, reply.body) == (200, b"")
    assert (await embedded.complete(ticket)).status == 202


async def test_a_large_upload_is_asked_for_before_it_is_sent(embedded: Api) -> None:
    ticket = await embedded.ticket()
    body = bytes(MAX_BYTES)

    assert (await put(embedded, ticket, body, expect100=True)).status == 200

    assert (await embedded.complete(ticket)).json()["original"]["bytes"] == MAX_BYTES


async def test_an_upload_that_is_too_large_is_refused(embedded: Api) -> None:
    ticket = await embedded.ticket()

    reply = await put(embedded, ticket, bytes(MAX_BYTES + 1), expect100=True)

    assert_problem(reply, 413, "body-too-large")
    assert (await embedded.complete(ticket)).status == 409


async def test_an_upload_of_unknown_length_is_refused(embedded: Api) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        yield PHOTO

    reply = await put(embedded, await embedded.ticket(), pieces())

    assert_problem(reply, 411, "length-required")


@pytest.mark.parametrize("part", ["signature=", "expires=", "original", "headers="])
async def test_a_link_that_was_changed_is_refused(embedded: Api, part: str) -> None:
    ticket = await embedded.ticket()
    ticket["upload_url"] = ticket["upload_url"].replace(part, f"{part}0")

    assert_problem(await put(embedded, ticket), 403, "signature-mismatch")


async def test_a_link_without_its_query_is_refused(embedded: Api) -> None:
    reply = await embedded.send("PUT", f"/objects/{KEY}", PHOTO)

    assert_problem(reply, 403, "signature-mismatch")


async def test_a_link_is_for_its_method_only(embedded: Api) -> None:
    ticket = await embedded.ticket()
    url = await stored(embedded, b"an object")

    assert_problem(await embedded.get(ticket["upload_url"]), 403, "signature-mismatch")
    assert_problem(await embedded.send("PUT", url, PHOTO), 403, "signature-mismatch")


async def test_an_old_link_is_refused(embedded: Api) -> None:
    signed = await embedded.stores.signer.upload_url(
        KEY, content_type="image/jpeg", expires_seconds=-1, size=None, sha256=None
    )
    ticket = {"upload_url": signed.url, "upload_headers": signed.headers}

    assert_problem(await put(embedded, ticket), 403, "link-expired")
    old = await download_url(embedded, seconds=-1)
    assert_problem(await embedded.get(old), 403, "link-expired")


async def test_an_upload_of_another_type_than_signed_is_refused(embedded: Api) -> None:
    ticket = await embedded.ticket()
    ticket["upload_headers"] = {"Content-Type": "text/html"}

    assert_problem(await put(embedded, ticket), 403, "signature-mismatch")


async def test_an_upload_of_another_length_than_signed_is_refused(embedded: Api) -> None:
    ticket = await embedded.ticket(size_bytes=len(PHOTO) + 1)

    assert_problem(await put(embedded, ticket), 403, "signature-mismatch")


async def test_an_upload_with_another_checksum_is_refused(embedded: Api) -> None:
    ticket = await embedded.ticket(checksum_sha256=_checksum(b"something else"))

    assert_problem(await put(embedded, ticket), 400, "checksum-mismatch")
    assert (await embedded.complete(ticket)).status == 409


async def test_an_upload_with_a_checksum_can_be_made_once(embedded: Api) -> None:
    ticket = await embedded.ticket(checksum_sha256=_checksum(PHOTO))

    assert (await put(embedded, ticket)).status == 200
    assert_problem(await put(embedded, ticket), 412, "already-uploaded")


async def test_nothing_is_left_of_an_upload_that_breaks_off(embedded: Api) -> None:
    ticket = await embedded.ticket()
    address = urlsplit(str(ticket["upload_url"]))
    _, writer = await asyncio.open_connection(address.hostname, address.port)
    head = (
        f"PUT {address.path}?{address.query} HTTP/1.1\r\nHost: {address.netloc}\r\n"
        "Content-Type: image/jpeg\r\nContent-Length: 2000000\r\n\r\n"
    )
    writer.write(head.encode() + bytes(1_500_000))
    await writer.drain()

    async def incoming() -> list[Path]:
        return list((embedded.folder / "store" / "incoming").glob("*"))

    await eventually(incoming)
    writer.close()
    await writer.wait_closed()

    await eventually(incoming, until=lambda found: not found)
    assert (await embedded.complete(ticket)).status == 409


async def test_an_object_is_answered_whole_with_its_type(embedded: Api) -> None:
    body = bytes(range(256)) * 12_000
    url = await stored(embedded, body)

    get, head = await embedded.get(url), await embedded.send("HEAD", url)

    assert (get.status, get.body, head.status, head.body) == (200, body, 200, b"")
    for reply in (get, head):
        assert reply.headers["Content-Type"] == "image/webp"
        assert reply.headers["Content-Length"] == str(len(body))
        assert reply.headers["X-Content-Type-Options"] == "nosniff"
        assert reply.headers["ETag"].startswith('"')


@pytest.mark.parametrize("key", ["a//b", "a/./b/..", "ä ö+%2F?#&", "end/", "%00\x00"])
async def test_any_key_finds_its_object(embedded: Api, key: str) -> None:
    url = await stored(embedded, key.encode(), key)

    reply = await embedded.send("GET", url, conforming=False)

    assert (reply.status, reply.body) == (200, key.encode())


async def test_an_object_that_does_not_exist_is_not_found(embedded: Api) -> None:
    assert_problem(
        await embedded.get(await download_url(embedded, "media/nothing")), 404, "object-not-found"
    )


async def test_a_reader_that_goes_away_leaves_no_open_file(embedded: Api) -> None:
    """That no descriptor is left is asserted when the set is closed."""
    address = urlsplit(await stored(embedded, bytes(20_000_000)))
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    target = f"{address.path}?{address.query}"
    writer.write(f"GET {target} HTTP/1.1\r\nHost: {address.netloc}\r\n\r\n".encode())
    await reader.readexactly(1000)
    writer.transport.abort()


def _checksum(body: bytes) -> str:
    return base64.b64encode(hashlib.sha256(body).digest()).decode()
