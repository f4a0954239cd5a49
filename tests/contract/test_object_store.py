"""What `ObjectStore` promises, on every set."""

import asyncio
import hashlib
from pathlib import Path

import pytest

from application.ports import ObjectStore
from application.values import Downloaded, StoredObject
from domain.errors import ProcessingFailed
from domain.failure import FailureCode
from tests.support.sets import StorePorts

pytestmark = pytest.mark.anyio

KEY = "media/01/original.jpg"
BODY = b"not really a JPEG" * 1000
LIMIT = 1_000_000
ODD_KEYS = [
    "media/01/a b.jpg",
    "media/01/a+b.jpg",
    "media/01/a%20b.jpg",
    "media/01/a&b=c?d#e.jpg",
    "media/01/ünï©ødé-\N{CAMERA}-写真.jpg",
    "media/01/'quotes\"and;colons:.jpg",
    "media/01/~tilde!(parens)*star@at,comma.jpg",
    "media/01/.hidden",
    "media/01/" + "long" * 40,
]


async def upload(
    store: ObjectStore, folder: Path, key: str = KEY, body: bytes = BODY
) -> StoredObject:
    source = folder / "upload"
    source.write_bytes(body)
    await store.upload(key, source, content_type="image/jpeg")
    stored = await store.head(key)
    assert stored is not None
    return stored


async def download(
    store: ObjectStore, to: Path, *, key: str = KEY, etag: str, max_bytes: int = LIMIT
) -> Downloaded:
    return await store.download(key, etag=etag, to=to, max_bytes=max_bytes)


async def failure_of(
    store: ObjectStore, to: Path, *, etag: str, max_bytes: int = LIMIT
) -> FailureCode:
    with pytest.raises(ProcessingFailed) as raised:
        await download(store, to, etag=etag, max_bytes=max_bytes)
    return raised.value.code


async def test_what_was_uploaded_can_be_downloaded(store_ports: StorePorts, tmp_path: Path) -> None:
    store, to = store_ports.store, tmp_path / "download"
    stored = await upload(store, tmp_path)
    assert stored.size == len(BODY)
    assert '"' not in stored.etag
    downloaded = await download(store, to, etag=stored.etag)
    assert downloaded == Downloaded(len(BODY), hashlib.sha256(BODY).hexdigest())
    assert to.read_bytes() == BODY


async def test_an_empty_object_is_an_object(store_ports: StorePorts, tmp_path: Path) -> None:
    stored = await upload(store_ports.store, tmp_path, body=b"")
    assert stored.size == 0
    downloaded = await download(store_ports.store, tmp_path / "download", etag=stored.etag)
    assert downloaded == Downloaded(0, hashlib.sha256().hexdigest())
    assert (tmp_path / "download").read_bytes() == b""


async def test_a_large_object_passes_through(store_ports: StorePorts, tmp_path: Path) -> None:
    body = bytes(range(256)) * 40_000
    stored = await upload(store_ports.store, tmp_path, body=body)
    to = tmp_path / "download"
    downloaded = await download(store_ports.store, to, etag=stored.etag, max_bytes=len(body))
    assert downloaded.sha256 == hashlib.sha256(body).hexdigest()
    assert to.read_bytes() == body


async def test_nothing_is_stored_under_an_unknown_key(store_ports: StorePorts) -> None:
    assert await store_ports.store.head(KEY) is None
    assert await store_ports.store.list_keys("media/") == []


async def test_a_replaced_object_has_another_etag(store_ports: StorePorts, tmp_path: Path) -> None:
    first = await upload(store_ports.store, tmp_path)
    second = await upload(store_ports.store, tmp_path, body=BODY[::-1])
    assert first.etag != second.etag
    assert await store_ports.store.head(KEY) == second


async def test_an_object_that_changed_is_not_downloaded(
    store_ports: StorePorts, tmp_path: Path
) -> None:
    pinned = await upload(store_ports.store, tmp_path)
    await upload(store_ports.store, tmp_path, body=BODY[::-1])
    to = tmp_path / "download"
    assert await failure_of(store_ports.store, to, etag=pinned.etag) == "original-changed"
    assert not to.exists()


async def test_an_object_that_is_gone_is_not_downloaded(
    store_ports: StorePorts, tmp_path: Path
) -> None:
    pinned = await upload(store_ports.store, tmp_path)
    await store_ports.store.delete([KEY])
    to = tmp_path / "download"
    assert await failure_of(store_ports.store, to, etag=pinned.etag) == "original-missing"
    assert not to.exists()


async def test_an_object_with_too_many_bytes_is_not_downloaded(
    store_ports: StorePorts, tmp_path: Path
) -> None:
    store, to = store_ports.store, tmp_path / "download"
    stored = await upload(store, tmp_path)
    code = await failure_of(store, to, etag=stored.etag, max_bytes=len(BODY) - 1)
    assert code == "too-many-bytes"
    assert not to.exists()
    await download(store, to, etag=stored.etag, max_bytes=len(BODY))


async def test_keys_are_listed_by_prefix_and_sorted(
    store_ports: StorePorts, tmp_path: Path
) -> None:
    store = store_ports.store
    keys = [f"media/{path}" for path in ("02/x", "01/2/b", "01/10/a", "01/2/a", "01/original.jpg")]
    for key in keys:
        await upload(store, tmp_path, key)
    assert await store.list_keys("media/01/") == sorted(keys[1:])
    assert await store.list_keys("media/01/2/") == ["media/01/2/a", "media/01/2/b"]
    assert await store.list_keys("media/0") == sorted(keys)
    assert await store.list_keys("media/03/") == []


async def test_deleting_removes_what_is_there_and_ignores_what_is_not(
    store_ports: StorePorts, tmp_path: Path
) -> None:
    store = store_ports.store
    for number in range(3):
        await upload(store, tmp_path, f"media/01/1/{number}")
    await store.delete(["media/01/1/0", "media/01/1/2", "media/01/1/unknown", "other/folder"])
    assert await store.list_keys("media/") == ["media/01/1/1"]
    await store.delete([])
    await store.delete(["media/01/1/1"])
    assert await store.list_keys("media/") == []
    assert await store.head("media/01/1/1") is None


@pytest.mark.parametrize("key", ODD_KEYS)
async def test_odd_keys_are_kept_apart_and_found_again(
    store_ports: StorePorts, tmp_path: Path, key: str
) -> None:
    store = store_ports.store
    await upload(store, tmp_path, "media/01/neighbour", b"neighbour")
    stored = await upload(store, tmp_path, key)
    await download(store, tmp_path / "download", key=key, etag=stored.etag)
    assert await store.list_keys("media/01/") == sorted([key, "media/01/neighbour"])
    await store.delete([key])
    assert await store.list_keys("media/01/") == ["media/01/neighbour"]


async def test_an_object_appears_whole_or_not_at_all(
    store_ports: StorePorts, tmp_path: Path
) -> None:
    """While two bodies replace each other, every pinned download is one of them or refused."""
    store, bodies = store_ports.store, (b"a" * 300_000, b"b" * 200_000)
    await upload(store, tmp_path, body=bodies[0])
    sources = [tmp_path / f"source-{number}" for number in range(2)]
    for source, body in zip(sources, bodies, strict=True):
        source.write_bytes(body)

    async def replace() -> None:
        for number in range(10):
            await store.upload(KEY, sources[number % 2], content_type="image/jpeg")

    async def read(number: int) -> bytes | None:
        stored, to = await store.head(KEY), tmp_path / f"download-{number}"
        assert stored is not None
        try:
            await download(store, to, etag=stored.etag)
        except ProcessingFailed as failed:
            assert failed.code is FailureCode.ORIGINAL_CHANGED  # noqa: PT017  it may also succeed
            return None
        return to.read_bytes()

    replacing = asyncio.create_task(replace())
    seen = {await read(number) for number in range(10)}
    await replacing
    assert seen <= {*bodies, None}
