"""What a signed link permits, asked of a real store by a client that has nothing but the link."""

import base64
import hashlib
from collections.abc import AsyncGenerator
from datetime import timedelta

import pytest

from adapters.minio import MinioStore
from application.ports import SignedUpload
from tests.support.minio import ask, fresh, put, utc_now
from tests.support.services import MinioAccess

pytestmark = pytest.mark.anyio

KEY = "media/01JD0000000000000000000000/original.jpg"
BODY = b"not really a picture"
SHA256 = base64.b64encode(hashlib.sha256(BODY).digest()).decode()


@pytest.fixture
async def store(minio: MinioAccess) -> AsyncGenerator[MinioStore]:
    async with fresh(minio) as store:
        yield store


async def link(
    store: MinioStore, *, key: str = KEY, size: int | None = None, sha256: str | None = None
) -> SignedUpload:
    return await store.upload_url(
        key, content_type="image/jpeg", expires_seconds=60, size=size, sha256=sha256
    )


async def test_a_plain_client_puts_and_gets_through_links(store: MinioStore) -> None:
    upload = await link(store)
    assert upload.headers == {"Content-Type": "image/jpeg"}
    assert await put(upload.url, BODY, upload.headers) == 200
    assert await ask("GET", await store.download_url(KEY, expires_seconds=60)) == (200, BODY)


async def test_the_same_link_may_be_used_again_while_nothing_more_was_declared(
    store: MinioStore,
) -> None:
    upload = await link(store)
    assert await put(upload.url, BODY, upload.headers) == 200
    assert await put(upload.url, BODY * 2, upload.headers) == 200


async def test_links_are_for_the_public_endpoint_while_we_use_another(minio: MinioAccess) -> None:
    public = minio.endpoint.replace("127.0.0.1", "localhost")
    assert public != minio.endpoint, "this test needs a store on 127.0.0.1"
    async with fresh(minio, public_endpoint=public) as store:
        upload = await link(store)
        assert upload.url.startswith(f"{public}/")
        assert await put(upload.url, BODY, upload.headers) == 200
        assert await ask("GET", await store.download_url(KEY, expires_seconds=60)) == (200, BODY)
        elsewhere = upload.url.replace("localhost", "127.0.0.1")
        assert await put(elsewhere, BODY, upload.headers) == 403


async def test_a_link_ends_with_its_time(minio: MinioAccess) -> None:
    async with fresh(minio, clock=lambda: utc_now() - timedelta(seconds=90)) as store:
        upload = await link(store)
        assert await put(upload.url, BODY, upload.headers) == 403
        assert (await ask("GET", await store.download_url(KEY, expires_seconds=60)))[0] == 403
        longer = await store.upload_url(
            KEY, content_type="image/jpeg", expires_seconds=120, size=None, sha256=None
        )
        assert await put(longer.url, BODY, longer.headers) == 200


@pytest.mark.parametrize(
    ("old", "new"),
    [("/original.jpg", "/original.png"), ("Expires=60", "Expires=6000"), ("Signature=", "&S=0")],
)
async def test_a_link_that_was_tampered_with_is_refused(
    store: MinioStore, old: str, new: str
) -> None:
    upload = await link(store)
    assert await put(upload.url.replace(old, new), BODY, upload.headers) in {400, 403}
    assert await store.list_keys("") == []


async def test_a_link_for_upload_does_not_read_and_one_for_download_does_not_write(
    store: MinioStore,
) -> None:
    upload, download = await link(store), await store.download_url(KEY, expires_seconds=60)
    assert (await ask("GET", upload.url, headers=upload.headers))[0] == 403
    assert await put(download, BODY, {}) == 403


async def test_without_a_link_nothing_can_be_read_or_listed(store: MinioStore) -> None:
    upload = await link(store)
    await put(upload.url, BODY, upload.headers)
    address = upload.url.partition("?")[0]
    assert (await ask("GET", address))[0] == 403
    assert (await ask("GET", address.removesuffix(f"/{KEY}")))[0] == 403


async def test_another_type_is_refused(store: MinioStore) -> None:
    upload = await link(store)
    assert await put(upload.url, BODY, {"Content-Type": "text/html"}) == 403


@pytest.mark.parametrize("body", [BODY[:-1], BODY + b"!", b""])
async def test_another_length_than_the_declared_one_is_refused(
    store: MinioStore, body: bytes
) -> None:
    upload = await link(store, size=len(BODY))
    assert await put(upload.url, body, upload.headers) == 403
    assert await store.head(KEY) is None
    assert await put(upload.url, BODY, upload.headers) == 200


async def test_other_bytes_than_the_declared_ones_are_refused(store: MinioStore) -> None:
    upload = await link(store, size=len(BODY), sha256=SHA256)
    assert upload.headers == {
        "Content-Type": "image/jpeg",
        "x-amz-checksum-sha256": SHA256,
        "If-None-Match": "*",
    }
    assert await put(upload.url, BODY[::-1], upload.headers) == 400
    assert await store.head(KEY) is None


@pytest.mark.parametrize("left_out", ["x-amz-checksum-sha256", "If-None-Match"])
async def test_a_signed_header_cannot_be_left_out(store: MinioStore, left_out: str) -> None:
    upload = await link(store, sha256=SHA256)
    headers = {name: value for name, value in upload.headers.items() if name != left_out}
    assert await put(upload.url, BODY, headers) in {400, 403}
    assert await store.head(KEY) is None


async def test_a_declared_checksum_makes_the_upload_write_once(store: MinioStore) -> None:
    upload = await link(store, sha256=SHA256)
    assert await put(upload.url, BODY, upload.headers) == 200
    assert await put(upload.url, BODY, upload.headers) == 412


@pytest.mark.parametrize(
    "name",
    ["a b", "a+b", "a%20b", "a?b#c", "ä/ö€😀", "a&b=c;d,e:f@g$h!'()*", "x\\y", 'q"<>^`{|}', "~._-"],
)
async def test_any_key_means_the_same_to_links_to_requests_and_to_the_store(
    store: MinioStore, name: str
) -> None:
    upload = await link(store, key=f"media/{name}")
    assert await put(upload.url, BODY, upload.headers) == 200
    download = await store.download_url(f"media/{name}", expires_seconds=60)
    assert await ask("GET", download) == (200, BODY)
    assert await store.list_keys("media/") == [f"media/{name}"]
    assert await store.head(f"media/{name}") is not None
    await store.delete([f"media/{name}"])
    assert await store.head(f"media/{name}") is None
