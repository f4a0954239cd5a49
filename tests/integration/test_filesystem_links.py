"""Signed links: what is signed is enforced, and an upload leaves an object or nothing."""

import asyncio
import base64
import hashlib
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import parse_qsl, unquote, urlsplit

import pytest

from adapters.filesystem import FilesystemStore, TransferRefused
from application.values import SignedUpload

pytestmark = pytest.mark.anyio

KEY = "media/01JD/ü +&?#%2F.jpg"
BODY = b"a photo"
SHA256 = base64.b64encode(hashlib.sha256(BODY).digest()).decode()
START = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


class Client:
    """Sends to the store what the API would make of a request."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.now = START
        self.store = FilesystemStore(
            root, "http://api/base/", b"s" * 32, clock=lambda: self.now, max_bytes=1000
        )

    async def sign(self, size: int | None = None, sha256: str | None = None) -> SignedUpload:
        return await self.store.upload_url(
            KEY, content_type="image/jpeg", expires_seconds=60, size=size, sha256=sha256
        )

    async def put(
        self,
        signed: SignedUpload,
        body: bytes = BODY,
        *,
        headers: Mapping[str, str] | None = None,
        query: Mapping[str, str] | None = None,
        key: str | None = None,
    ) -> tuple[int, str]:
        """Status and code; the given headers and query replace those of the link."""
        path, signed_query = take_apart(signed.url)
        all_headers = {"content-length": str(len(body)), **signed.headers, **(headers or {})}
        try:
            await self.store.receive_upload(
                key or path, {**signed_query, **(query or {})}, all_headers, _chunks(body)
            )
        except TransferRefused as refused:
            return refused.status, refused.code
        return 200, ""

    async def get(self, url: str, **changes: str) -> tuple[int, bytes]:
        key, query = take_apart(url)
        try:
            opened = await self.store.open_download(key, {**query, **changes})
        except TransferRefused as refused:
            return refused.status, refused.code.encode()
        assert opened.content_type == "image/jpeg"
        try:
            return 200, opened.read()
        finally:
            opened.close()

    def files(self) -> list[Path]:
        return [path for path in self.root.rglob("*") if path.is_file()]


def take_apart(url: str) -> tuple[str, dict[str, str]]:
    parts = urlsplit(url)
    assert parts.path.startswith("/base/objects/")
    return unquote(parts.path.removeprefix("/base/objects/")), dict(parse_qsl(parts.query))


async def _chunks(body: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(body), 3):
        yield body[start : start + 3]


@pytest.fixture
async def client(tmp_path: Path) -> Client:
    client = Client(tmp_path / "store")
    await client.store.open()
    return client


async def test_a_photo_is_put_and_fetched_with_links_alone(client: Client) -> None:
    assert await client.put(await client.sign(len(BODY), SHA256)) == (200, "")
    assert await client.get(await client.store.download_url(KEY, expires_seconds=60)) == (200, BODY)


@pytest.mark.parametrize("part", ["expires", "headers", "signature"])
@pytest.mark.parametrize("value", ["", "9999999999", "content-type", "é"])
async def test_a_link_whose_query_was_changed_is_refused(
    client: Client, part: str, value: str
) -> None:
    signed = await client.sign(len(BODY), SHA256)
    assert await client.put(signed, query={part: value}) == (403, "SignatureDoesNotMatch")
    assert (await client.put(signed))[0] == 200
    url = await client.store.download_url(KEY, expires_seconds=60)
    assert (await client.get(url, **{part: value or "x"}))[0] == 403
    assert (await client.get(url))[0] == 200


async def test_a_link_is_good_for_one_key_and_one_method(client: Client) -> None:
    signed = await client.sign()
    assert (await client.put(signed, key="media/01JD/other"))[0] == 403
    assert (await client.get(signed.url))[0] == 403
    link = SignedUpload(await client.store.download_url(KEY, expires_seconds=60), {})
    assert (await client.put(link))[0] == 403
    assert client.files() == []


async def test_a_link_of_another_secret_is_refused(client: Client, tmp_path: Path) -> None:
    other = FilesystemStore(
        tmp_path, "http://api/base", b"t" * 32, clock=lambda: START, max_bytes=10
    )
    url = await other.download_url(KEY, expires_seconds=60)
    assert (await client.get(url))[0] == 403


async def test_links_expire(client: Client) -> None:
    signed = await client.sign()
    client.now = START + timedelta(seconds=59)
    url = await client.store.download_url(KEY, expires_seconds=1)
    assert (await client.put(signed))[0] == 200
    assert (await client.get(url))[0] == 200
    client.now = START + timedelta(seconds=60)
    assert await client.put(signed) == (403, "AccessDenied")
    assert await client.get(url) == (403, b"AccessDenied")


@pytest.mark.parametrize(
    ("name", "value", "status"),
    [
        ("Content-Type", "image/png", 403),
        ("content-length", "6", 403),
        ("x-amz-checksum-sha256", SHA256[::-1], 403),
        ("If-None-Match", "", 403),
    ],
)
async def test_a_signed_header_must_be_sent_as_signed(
    client: Client, name: str, value: str, status: int
) -> None:
    signed = await client.sign(len(BODY), SHA256)
    assert (await client.put(signed, headers={name: value}))[0] == status
    assert client.files() == []


async def test_a_signed_header_must_not_be_left_out(client: Client) -> None:
    signed = await client.sign(len(BODY), SHA256)
    for name in signed.headers:
        fewer = {key: value for key, value in signed.headers.items() if key != name}
        assert (await client.put(SignedUpload(signed.url, fewer)))[0] == 403


async def test_the_length_must_be_known_allowed_and_true(client: Client) -> None:
    signed = await client.sign()
    for wrong in ("", "-1", "7.0", "\u0667", "9" * 5000):
        assert (await client.put(signed, headers={"content-length": wrong}))[0] == 411
    assert await client.put(signed, bytes(1001)) == (413, "EntityTooLarge")
    assert await client.put(signed, headers={"content-length": "6"}) == (400, "IncompleteBody")
    assert await client.put(signed, headers={"content-length": "8"}) == (400, "IncompleteBody")
    assert client.files() == []
    assert (await client.put(signed, bytes(1000)))[0] == 200


async def test_a_body_with_another_checksum_is_refused(client: Client) -> None:
    signed = await client.sign(len(BODY), SHA256)
    assert await client.put(signed, b"another") == (400, "BadDigest")
    assert client.files() == []


async def test_of_many_write_once_uploads_one_succeeds(client: Client) -> None:
    signed = await client.sign(len(BODY), SHA256)
    answers = await asyncio.gather(*(client.put(signed) for _ in range(8)))
    assert sorted(status for status, _ in answers) == [200] + [412] * 7
    assert await client.put(signed) == (412, "PreconditionFailed")
    assert len(client.files()) == 1


async def test_a_plain_link_can_be_used_again_and_the_etag_tells(client: Client) -> None:
    signed = await client.sign()
    await client.put(signed)
    first = await client.store.head(KEY)
    await client.put(signed, b"another")
    second = await client.store.head(KEY)
    assert first is not None
    assert second is not None
    assert first.etag != second.etag


async def test_an_upload_that_breaks_off_leaves_nothing(client: Client) -> None:
    signed = await client.sign()
    key, query = take_apart(signed.url)

    async def broken() -> AsyncIterator[bytes]:
        yield b"half"
        raise ConnectionError

    headers = {"content-length": "8", **signed.headers}
    with pytest.raises(ConnectionError):
        await client.store.receive_upload(key, query, headers, broken())
    assert client.files() == []


async def test_an_upload_that_is_cancelled_leaves_nothing(client: Client) -> None:
    signed = await client.sign()
    key, query = take_apart(signed.url)
    started = asyncio.Event()

    async def stalled() -> AsyncIterator[bytes]:
        yield b"half"
        started.set()
        await asyncio.Event().wait()

    headers = {"content-length": "8", **signed.headers}
    task = asyncio.create_task(client.store.receive_upload(key, query, headers, stalled()))
    await started.wait()
    assert len(client.files()) == 1
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert client.files() == []


async def test_a_missing_object_is_not_found(client: Client) -> None:
    url = await client.store.download_url(KEY, expires_seconds=60)
    assert await client.get(url) == (404, b"NoSuchKey")
