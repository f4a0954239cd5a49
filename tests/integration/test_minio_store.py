"""Objects in a real store: pinned downloads, listings longer than a page, cleaning up."""

import asyncio
import gzip
import hashlib
import os
from collections.abc import AsyncGenerator
from pathlib import Path

import aiohttp
import pytest
from yarl import URL

from adapters.minio import MinioStore
from application.ports import Downloaded
from domain.errors import ProcessingFailed, StoreUnavailable
from domain.failure import FailureCode
from tests.support.minio import ask, fresh, opened, put
from tests.support.services import MinioAccess

pytestmark = pytest.mark.anyio

KEY = "media/01JD0000000000000000000000/1/large.webp"


@pytest.fixture
async def store(minio: MinioAccess) -> AsyncGenerator[MinioStore]:
    async with fresh(minio) as store:
        yield store


async def stored(store: MinioStore, folder: Path, body: bytes) -> str:
    """Upload `body` under KEY; its ETag."""
    (folder / "source").write_bytes(body)
    await store.upload(KEY, folder / "source", content_type="image/webp")
    found = await store.head(KEY)
    assert found is not None
    assert found.size == len(body)
    return found.etag


@pytest.mark.parametrize("size", [0, 1, 300_000, 5 * 1024 * 1024 + 1])
async def test_what_was_uploaded_is_downloaded(
    store: MinioStore, tmp_path: Path, size: int
) -> None:
    body = os.urandom(size)
    etag = await stored(store, tmp_path, body)
    to = tmp_path / "copy"
    found = await store.download(KEY, etag=etag, to=to, max_bytes=size)
    assert found == Downloaded(size, hashlib.sha256(body).hexdigest())
    assert to.read_bytes() == body


async def test_an_upload_replaces_what_was_there(store: MinioStore, tmp_path: Path) -> None:
    await stored(store, tmp_path, b"first")
    await stored(store, tmp_path, b"second")
    url = await store.download_url(KEY, expires_seconds=60)
    assert await ask("GET", url) == (200, b"second")


async def test_an_upload_has_its_content_type(store: MinioStore, tmp_path: Path) -> None:
    await stored(store, tmp_path, b"body")
    url = await store.download_url(KEY, expires_seconds=60)
    async with aiohttp.request("GET", URL(url, encoded=True)) as response:
        assert response.content_type == "image/webp"


async def test_nothing_is_stored_under_an_unknown_key(store: MinioStore) -> None:
    assert await store.head("media/unknown") is None


async def test_only_the_pinned_object_is_downloaded(store: MinioStore, tmp_path: Path) -> None:
    pinned = await stored(store, tmp_path, b"first")
    await stored(store, tmp_path, b"second")
    with pytest.raises(ProcessingFailed) as caught:
        await store.download(KEY, etag=pinned, to=tmp_path / "copy", max_bytes=100)
    assert caught.value.code is FailureCode.ORIGINAL_CHANGED
    assert not (tmp_path / "copy").exists()


async def test_a_missing_original_is_told_apart_from_a_missing_bucket(
    store: MinioStore, minio: MinioAccess, tmp_path: Path
) -> None:
    with pytest.raises(ProcessingFailed) as caught:
        await store.download("media/unknown", etag="0", to=tmp_path / "copy", max_bytes=100)
    assert caught.value.code is FailureCode.ORIGINAL_MISSING
    async with opened(minio) as elsewhere:
        with pytest.raises(StoreUnavailable, match="does not exist"):
            await elsewhere.download("media/a", etag="0", to=tmp_path / "copy", max_bytes=100)
    assert not (tmp_path / "copy").exists()


async def test_an_object_that_is_too_long_leaves_no_file(store: MinioStore, tmp_path: Path) -> None:
    etag = await stored(store, tmp_path, bytes(1001))
    with pytest.raises(ProcessingFailed) as caught:
        await store.download(KEY, etag=etag, to=tmp_path / "copy", max_bytes=1000)
    assert caught.value.code is FailureCode.TOO_MANY_BYTES
    assert not (tmp_path / "copy").exists()


async def test_a_file_that_exists_is_not_written_over(store: MinioStore, tmp_path: Path) -> None:
    etag = await stored(store, tmp_path, b"body")
    to = tmp_path / "copy"
    to.write_text("mine")
    with pytest.raises(FileExistsError):
        await store.download(KEY, etag=etag, to=to, max_bytes=100)
    assert to.read_text() == "mine"


async def test_bytes_are_taken_as_stored_whatever_encoding_they_claim(
    store: MinioStore, tmp_path: Path
) -> None:
    bomb = gzip.compress(bytes(1_000_000))
    upload = await store.upload_url(
        KEY, content_type="image/jpeg", expires_seconds=60, size=None, sha256=None
    )
    assert await put(upload.url, bomb, {**upload.headers, "Content-Encoding": "gzip"}) == 200
    found = await store.head(KEY)
    assert found is not None
    assert found.size == len(bomb)
    copy = await store.download(KEY, etag=found.etag, to=tmp_path / "copy", max_bytes=found.size)
    assert copy == Downloaded(len(bomb), hashlib.sha256(bomb).hexdigest())


async def test_listing_and_deleting_go_on_past_a_page_of_1000(
    store: MinioStore, tmp_path: Path
) -> None:
    (tmp_path / "small").write_bytes(b"x")
    keys = [f"many/{number:04d}" for number in range(1005)]
    for start in range(0, len(keys), 32):
        batch = keys[start : start + 32]
        await asyncio.gather(
            *(store.upload(key, tmp_path / "small", content_type="x/y") for key in batch)
        )
    await store.upload("other/1", tmp_path / "small", content_type="x/y")
    assert await store.list_keys("many/") == keys
    assert await store.list_keys("many/100") == keys[1000:]
    await store.delete(keys)
    assert await store.list_keys("") == ["other/1"]


async def test_deleting_what_is_not_there_is_no_error(store: MinioStore, tmp_path: Path) -> None:
    await stored(store, tmp_path, b"body")
    await store.delete([])
    await store.delete(["media/unknown", KEY, KEY])
    assert await store.list_keys("") == []


async def test_the_bucket_may_be_created_again(store: MinioStore, tmp_path: Path) -> None:
    await stored(store, tmp_path, b"body")
    await store.create_bucket()
    assert await store.list_keys("") == [KEY]


async def test_closing_is_repeatable_and_so_is_opening(minio: MinioAccess) -> None:
    async with fresh(minio) as store:
        await store.close()
        await store.close()
        await store.open()
        await store.check()
