"""The object store in a folder, with real files."""

import asyncio
import hashlib
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from adapters.filesystem import FilesystemStore, load_or_create_secret
from adapters.filesystem.objects import Objects
from adapters.system import random_bytes
from domain.errors import InvalidConfiguration, ProcessingFailed, StoreUnavailable
from domain.failure import FailureCode

pytestmark = pytest.mark.anyio

KEY = "media/01JD/original.jpg"

_WRITE_FOR_EVER = """
import sys
from pathlib import Path
from adapters.filesystem.objects import Objects

objects = Objects(Path(sys.argv[1]))
for letter in b"abcdefgh" * 10_000:
    incoming = objects.create()
    for _ in range(4):
        objects.write(incoming, bytes([letter]) * 65_536)
    objects.publish(incoming, sys.argv[2], "image/jpeg", once=False)
    objects.discard(incoming)
    print(flush=True)
"""


@pytest.fixture
async def store(tmp_path: Path) -> FilesystemStore:
    store = FilesystemStore(
        tmp_path / "store", "http://api", b"s" * 32, clock=lambda: datetime.now(UTC), max_bytes=100
    )
    await store.open()
    return store


async def _put(store: FilesystemStore, folder: Path, key: str, data: bytes) -> None:
    source = folder / "source"
    source.write_bytes(data)
    await store.upload(key, source, content_type="image/jpeg")


def _files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def _kill_a_writer(root: Path, after_objects: int) -> None:
    command = [sys.executable, "-c", _WRITE_FOR_EVER, str(root), KEY]
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    assert process.stdout is not None
    for _ in range(after_objects):
        process.stdout.readline()
    process.send_signal(signal.SIGKILL)
    process.communicate()


async def test_what_was_uploaded_is_downloaded(store: FilesystemStore, tmp_path: Path) -> None:
    data = bytes(range(256)) * 10_000  # more than two chunks
    await _put(store, tmp_path, KEY, data)
    stored = await store.head(KEY)
    assert stored is not None
    assert stored.size == len(data)
    got = await store.download(KEY, etag=stored.etag, to=tmp_path / "to", max_bytes=len(data))
    assert (tmp_path / "to").read_bytes() == data
    assert (got.size, got.sha256) == (len(data), hashlib.sha256(data).hexdigest())


async def test_an_object_of_no_bytes_is_an_object(store: FilesystemStore, tmp_path: Path) -> None:
    await _put(store, tmp_path, KEY, b"")
    stored = await store.head(KEY)
    assert stored is not None
    got = await store.download(KEY, etag=stored.etag, to=tmp_path / "to", max_bytes=0)
    assert got.size == 0


async def test_a_download_is_refused_before_anything_is_written(
    store: FilesystemStore, tmp_path: Path
) -> None:
    to = tmp_path / "to"
    with pytest.raises(ProcessingFailed) as missing:
        await store.download(KEY, etag="e", to=to, max_bytes=10)
    await _put(store, tmp_path, KEY, b"first")
    first = await store.head(KEY)
    assert first is not None
    with pytest.raises(ProcessingFailed) as large:
        await store.download(KEY, etag=first.etag, to=to, max_bytes=4)
    await _put(store, tmp_path, KEY, b"other")
    with pytest.raises(ProcessingFailed) as changed:
        await store.download(KEY, etag=first.etag, to=to, max_bytes=10)
    codes = [error.value.code for error in (missing, large, changed)]
    assert codes == [
        FailureCode.ORIGINAL_MISSING,
        FailureCode.TOO_MANY_BYTES,
        FailureCode.ORIGINAL_CHANGED,
    ]
    assert not to.exists()


async def test_an_open_object_stays_what_it_was_when_it_is_replaced(
    store: FilesystemStore, tmp_path: Path
) -> None:
    await _put(store, tmp_path, KEY, b"before")
    opened = Objects(tmp_path / "store").open(KEY)
    assert opened is not None
    await _put(store, tmp_path, KEY, b"after, and longer")
    assert opened.read() == b"before"
    opened.close()


async def test_keys_are_listed_by_prefix_and_sorted(store: FilesystemStore, tmp_path: Path) -> None:
    keys = ["media/1/b", "media/1/a/ü 📷", "media/1", "media/10/x", "media/1/../up", "other"]
    for key in keys:
        await _put(store, tmp_path, key, b"x")
    assert await store.list_keys("media/1/") == ["media/1/../up", "media/1/a/ü 📷", "media/1/b"]
    assert await store.list_keys("media/1") == sorted(keys[:5])
    assert await store.list_keys("") == sorted(keys)
    assert await store.list_keys("nothing/here") == []


async def test_deleting_removes_the_objects_and_their_empty_folders(
    store: FilesystemStore, tmp_path: Path
) -> None:
    await _put(store, tmp_path, "media/1/a", b"x")
    await _put(store, tmp_path, "media/2/a", b"x")
    await store.delete(["media/1/a", "media/1/never-there", "media/2/a/deeper"])
    assert await store.list_keys("") == ["media/2/a"]
    folders = [path for path in (tmp_path / "store" / "objects").rglob("*") if path.is_dir()]
    assert len(folders) == 2


async def test_folders_may_be_pruned_while_others_write_into_them(
    store: FilesystemStore, tmp_path: Path
) -> None:
    source = tmp_path / "source"
    source.write_bytes(b"x")

    async def come_and_go(name: int) -> None:
        for _ in range(20):
            await store.upload(f"media/1/{name}", source, content_type="image/jpeg")
            await store.delete([f"media/1/{name}"])

    await asyncio.gather(*(come_and_go(name) for name in range(4)))
    await store.upload("media/1/last", source, content_type="image/jpeg")
    assert await store.list_keys("") == ["media/1/last"]


async def test_a_writer_killed_at_any_moment_leaves_the_old_object_or_the_new(
    store: FilesystemStore, tmp_path: Path
) -> None:
    root = tmp_path / "store"
    for kill_after in range(1, 6):
        _kill_a_writer(root, kill_after)
        stored = await store.head(KEY)
        assert stored is not None
        to = tmp_path / f"to-{kill_after}"
        await store.download(KEY, etag=stored.etag, to=to, max_bytes=stored.size)
        data = to.read_bytes()
        assert len(data) == 4 * 65_536
        assert len(set(data)) == 1
        assert hashlib.sha256(data).hexdigest() == stored.etag


async def test_unfinished_files_of_the_dead_are_removed_at_open_and_those_of_the_living_stay(
    store: FilesystemStore, tmp_path: Path
) -> None:
    objects = Objects(tmp_path / "store")
    alive = objects.create()
    leftover = tmp_path / "store" / "incoming" / "leftover"
    leftover.write_bytes(b"half a photo")
    await store.open()
    assert not leftover.exists()
    assert alive.path.exists()
    objects.discard(alive)
    assert _files(tmp_path / "store") == []


_DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "emptied": lambda whole: whole[:0],
    "cut at the end": lambda whole: whole[:-1],
    "cut at the beginning": lambda whole: whole[1:],
    "description overwritten": lambda whole: whole.replace(b"{", b"["),
    "only the end left": lambda whole: b"\xff" * 4 + whole[-8:],
}


@pytest.mark.parametrize("damage", _DAMAGE)
async def test_a_file_that_is_no_whole_object_is_not_served(
    store: FilesystemStore, tmp_path: Path, damage: str
) -> None:
    await _put(store, tmp_path, KEY, b"data")
    (path,) = _files(tmp_path / "store" / "objects")
    path.write_bytes(_DAMAGE[damage](path.read_bytes()))
    with pytest.raises(StoreUnavailable, match="not a whole object"):
        await store.head(KEY)


@pytest.mark.parametrize("damage", _DAMAGE)
async def test_a_damaged_original_is_told_from_a_store_that_is_away(
    store: FilesystemStore, tmp_path: Path, damage: str
) -> None:
    await _put(store, tmp_path, KEY, b"data")
    (path,) = _files(tmp_path / "store" / "objects")
    path.write_bytes(_DAMAGE[damage](path.read_bytes()))
    with pytest.raises(ProcessingFailed) as damaged:
        await store.download(KEY, etag="e", to=tmp_path / "to", max_bytes=10)
    assert damaged.value.code is FailureCode.ORIGINAL_UNREADABLE
    (tmp_path / "store" / "incoming").rmdir()
    (tmp_path / "store" / "incoming").write_text("in the way")
    with pytest.raises(StoreUnavailable):
        await store.download(KEY, etag="e", to=tmp_path / "to", max_bytes=10)


async def test_a_folder_in_the_place_of_an_original_is_damage(
    store: FilesystemStore, tmp_path: Path
) -> None:
    await _put(store, tmp_path, KEY, b"data")
    (path,) = _files(tmp_path / "store" / "objects")
    path.unlink()
    path.mkdir()
    with pytest.raises(ProcessingFailed) as damaged:
        await store.download(KEY, etag="e", to=tmp_path / "to", max_bytes=10)
    assert damaged.value.code is FailureCode.ORIGINAL_UNREADABLE


async def test_a_folder_that_cannot_be_written_is_not_ready(
    store: FilesystemStore, tmp_path: Path
) -> None:
    await store.check()
    assert _files(tmp_path / "store") == []
    (tmp_path / "store" / "incoming").rmdir()
    (tmp_path / "store" / "incoming").write_text("in the way")
    with pytest.raises(StoreUnavailable):
        await store.check()


def test_a_secret_is_made_once_and_is_private(tmp_path: Path) -> None:
    path = tmp_path / "data" / "secret"
    secret = load_or_create_secret(path, random_bytes)
    assert len(secret) == 32
    assert load_or_create_secret(path, random_bytes) == secret
    assert path.stat().st_mode & 0o777 == 0o600
    assert [each.name for each in path.parent.iterdir()] == ["secret"]


def test_a_secret_that_is_short_or_open_to_others_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    load_or_create_secret(path, random_bytes)
    path.chmod(0o644)
    with pytest.raises(InvalidConfiguration, match="read by others"):
        load_or_create_secret(path, random_bytes)
    path.chmod(0o600)
    path.write_bytes(b"short")
    with pytest.raises(InvalidConfiguration, match="too short"):
        load_or_create_secret(path, random_bytes)


async def test_a_folder_that_is_gone_is_an_outage_and_no_missing_photo(
    store: FilesystemStore, tmp_path: Path
) -> None:
    await _put(store, tmp_path, "media/1/original.jpg", b"photo")
    stored = await store.head("media/1/original.jpg")
    assert stored is not None
    (tmp_path / "store").rename(tmp_path / "elsewhere")
    calls: list[Callable[[], Awaitable[object]]] = [
        lambda: store.head("media/1/original.jpg"),
        lambda: store.download(
            "media/1/original.jpg", etag=stored.etag, to=tmp_path / "copy", max_bytes=100
        ),
        lambda: store.list_keys("media/1/"),
        lambda: store.delete(["media/1/original.jpg"]),
        lambda: _put(store, tmp_path, "media/1/1/thumb.webp", b"variant"),
        store.check,
    ]
    for call in calls:
        with pytest.raises(StoreUnavailable):
            await call()
    (tmp_path / "elsewhere").rename(tmp_path / "store")
    assert await store.list_keys("media/1/") == ["media/1/original.jpg"]
