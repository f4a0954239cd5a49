"""A store that is away, silent, slow, overloaded, misconfigured or half dead: always an answer."""

import asyncio
import logging
import socket
import traceback
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import cast

import pytest

from adapters.minio import Limits, MinioStore
from adapters.minio.refusals import StoreRefusal
from domain.errors import ProcessingFailed, StoreUnavailable
from domain.failure import FailureCode
from tests.support.minio import (
    NOBODY,
    SHORT,
    answer,
    borrowed,
    error_document,
    fresh,
    opened,
    scripted,
)
from tests.support.proxy import proxy_before
from tests.support.services import MinioAccess
from tests.support.waiting import eventually

pytestmark = pytest.mark.anyio

SILENCE_SECONDS = 3.0  # two thirds of it by the breaker's rules, the rest for a busy machine
KEY = "media/01JD0000000000000000000000/original.jpg"
Call = Callable[[MinioStore, Path], Awaitable[object]]
CALLS: dict[str, Call] = {
    "head": lambda store, _: store.head(KEY),
    "download": lambda store, folder: store.download(
        KEY, etag="0", to=folder / "copy", max_bytes=100
    ),
    "upload": lambda store, folder: store.upload(KEY, folder / "source", content_type="x/y"),
    "list": lambda store, _: store.list_keys("media/"),
    "delete": lambda store, _: store.delete([KEY]),
    "check": lambda store, _: store.check(),
    "create": lambda store, _: store.create_bucket(),
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "source").write_bytes(bytes(1000))
    return tmp_path


async def unavailable(call: Awaitable[object]) -> StoreUnavailable:
    with pytest.raises(StoreUnavailable) as caught:
        await call
    assert caught.value.__cause__ is not None
    return caught.value


async def test_a_closed_port_is_told_at_once_by_every_call(folder: Path) -> None:
    async with opened(NOBODY) as store, asyncio.timeout(1):
        for call in CALLS.values():
            await unavailable(call(store, folder))
    assert not (folder / "copy").exists()


async def test_a_silent_store_is_told_within_5_seconds_by_every_call(folder: Path) -> None:
    async with scripted() as (access, _), opened(access) as store, asyncio.timeout(5):
        await asyncio.gather(*(unavailable(call(store, folder)) for call in CALLS.values()))
    assert not (folder / "copy").exists()


async def test_a_host_that_does_not_even_connect_is_told_in_time(folder: Path) -> None:
    with full_backlog() as port:
        access = MinioAccess(f"http://127.0.0.1:{port}", "a", "b")
        async with opened(access, limits=SHORT) as store, asyncio.timeout(2):
            for call in CALLS.values():
                await unavailable(call(store, folder))


@contextmanager
def full_backlog() -> Generator[int]:
    """A port that lets nobody in any more, as behind a firewall that drops packets."""
    with socket.socket() as listener, socket.socket() as first, socket.socket() as second:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for waiting in (first, second):
            waiting.setblocking(False)
            waiting.connect_ex(listener.getsockname())
        yield listener.getsockname()[1]


class Deaf(asyncio.Protocol):
    """Accepts one connection and never reads from it."""

    transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self.transport.pause_reading()


async def test_a_store_that_stops_reading_ends_an_upload_in_time(folder: Path) -> None:
    (folder / "source").write_bytes(bytes(20_000_000))
    limits = Limits(
        connect_timeout_seconds=0.2, read_timeout_seconds=0.2, bytes_per_second_min=100_000_000
    )
    deaf = Deaf()
    server = await asyncio.get_running_loop().create_server(lambda: deaf, "127.0.0.1", 0)
    access = MinioAccess(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", "a", "b")
    async with server, opened(access, limits=limits) as store, asyncio.timeout(3):
        await unavailable(CALLS["upload"](store, folder))
        deaf.transport.abort()


async def test_an_answer_cut_short_leaves_no_file(folder: Path) -> None:
    half = answer("200 OK", bytes(50), "Connection: close", length=100)
    async with scripted(half) as (access, _), opened(access) as store:
        await unavailable(CALLS["download"](store, folder))
    assert not (folder / "copy").exists()


async def test_an_answer_without_an_end_is_stopped_in_time_and_leaves_no_file(folder: Path) -> None:
    stuck = answer("200 OK", bytes(50), length=100)
    async with scripted(stuck) as (access, _), opened(access, limits=SHORT) as store:
        await unavailable(CALLS["download"](store, folder))
    assert not (folder / "copy").exists()


@pytest.mark.parametrize(
    "endless",
    [
        answer("200 OK", length=101),
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n65\r\n" + bytes(0x65) + b"\r\n",
    ],
    ids=["announced", "chunked"],
)
async def test_an_object_is_too_long_as_soon_as_that_is_known(folder: Path, endless: bytes) -> None:
    async with scripted(endless) as (access, _), opened(access, limits=SHORT) as store:
        with pytest.raises(ProcessingFailed) as caught:
            await CALLS["download"](store, folder)
        assert caught.value.code is FailureCode.TOO_MANY_BYTES
    assert not (folder / "copy").exists()


async def test_cancelling_a_download_leaves_no_file_and_no_connection(folder: Path) -> None:
    stuck = answer("200 OK", bytes(50), length=100)
    async with scripted(stuck) as (access, _), opened(access) as store:
        call = CALLS["download"](store, folder)
        download = asyncio.ensure_future(call)

        async def begun() -> bool:
            return (folder / "copy").exists()

        await eventually(begun)
        download.cancel()
        with pytest.raises(asyncio.CancelledError):
            await download
        assert borrowed(store) == 0
    assert not (folder / "copy").exists()


@pytest.mark.parametrize(
    ("status", "code"),
    [
        ("503 Slow Down", "SlowDown"),
        ("500 Internal Server Error", "InternalError"),
        ("503 Service Unavailable", "XMinioServerNotInitialized"),
    ],
)
async def test_an_overloaded_or_broken_store_is_unavailable(
    folder: Path, status: str, code: str
) -> None:
    refusal = answer(status, error_document(code))
    for name in ("download", "upload", "list", "delete"):
        async with scripted(refusal) as (access, script), opened(access, limits=SHORT) as store:
            error = await unavailable(CALLS[name](store, folder))
            assert code in str(error)
            assert isinstance(error.__cause__, StoreRefusal)
            asked = [head for head in script.heads if "media/nobody" not in head]
            assert len(asked) == 1, "whether to try again is for the caller to say"


GONE, WELL = answer("404 Not Found"), answer("200 OK")
FORBIDDEN = answer("403 Forbidden", error_document("AccessDenied"))
HALF = answer("200 OK", bytes(50), "Connection: close", length=100)


@pytest.mark.parametrize(
    "refusal", [FORBIDDEN, answer("500 Internal", error_document("InternalError")), HALF]
)
async def test_one_object_that_the_store_cannot_read_is_told_from_an_outage(
    folder: Path, refusal: bytes
) -> None:
    async with scripted(refusal, GONE, WELL) as (access, _), opened(access) as store:
        with pytest.raises(ProcessingFailed) as caught:
            await CALLS["download"](store, folder)
    assert caught.value.code is FailureCode.ORIGINAL_UNREADABLE
    assert not (folder / "copy").exists()


@pytest.mark.parametrize("others", [(answer("403 Forbidden"),), (GONE, GONE), (None, None)])
async def test_a_store_that_refuses_us_every_object_is_an_outage(
    folder: Path, others: tuple[bytes | None, ...]
) -> None:
    async with scripted(FORBIDDEN, *others) as (access, _), opened(access, limits=SHORT) as store:
        assert "AccessDenied" in str(await unavailable(CALLS["download"](store, folder)))


async def test_a_signed_request_does_not_follow_a_redirect(folder: Path) -> None:
    async with scripted(answer("200 OK", b"stolen")) as (elsewhere, script):
        redirect = answer("307 Temporary Redirect", b"", f"Location: {elsewhere.endpoint}/")
        for name in ("head", "download", "upload", "check"):
            async with scripted(redirect) as (access, _), opened(access) as store:
                assert "307" in str(await unavailable(CALLS[name](store, folder)))
    assert script.heads == []


async def test_an_object_that_could_not_be_deleted_is_told() -> None:
    body = b"<DeleteResult><Error><Key>k</Key><Code>SlowDown</Code></Error></DeleteResult>"
    async with scripted(answer("200 OK", body)) as (access, _), opened(access) as store:
        assert "SlowDown" in str(await unavailable(store.delete(["k"])))


async def test_a_missing_bucket_and_a_wrong_key_are_told_in_a_sentence(
    minio: MinioAccess, folder: Path
) -> None:
    async with opened(minio) as store:
        for name in ("head", "download", "upload", "list", "delete", "check"):
            assert "does not exist" in str(await unavailable(CALLS[name](store, folder)))
    for key, secret in [(minio.access_key, "wrong-secret-key"), ("unknown", minio.secret_key)]:
        async with opened(MinioAccess(minio.endpoint, key, secret)) as store:
            for call in CALLS.values():
                error = await unavailable(call(store, folder))
                assert "check the access key" in str(error)
    assert not (folder / "copy").exists()


@pytest.mark.parametrize("name", ["head", "download", "upload", "list", "delete"])
async def test_a_kept_alive_connection_that_was_closed_is_replaced_unnoticed(
    folder: Path, name: str
) -> None:
    good = {
        "head": answer("200 OK", b"", 'ETag: "0"'),
        "download": answer("200 OK", b"body"),
        "upload": answer("200 OK"),
        "list": answer(
            "200 OK", b"<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>"
        ),
        "delete": answer("200 OK", b"<DeleteResult/>"),
    }[name]
    async with scripted(good, None, good) as (access, script), opened(access) as store:
        await CALLS[name](store, folder)
        (folder / "copy").unlink(missing_ok=True)
        await CALLS[name](store, folder)
        assert len(script.heads) == 3
        assert script.connections == 2


async def test_work_goes_on_after_every_connection_was_reset(
    minio: MinioAccess, folder: Path
) -> None:
    port = int(minio.endpoint.rpartition(":")[2])
    async with proxy_before("127.0.0.1", port) as proxy:
        access = MinioAccess(f"http://127.0.0.1:{proxy.port}", minio.access_key, minio.secret_key)
        async with fresh(access) as store:
            for _ in range(2):
                await asyncio.gather(*(CALLS["upload"](store, folder) for _ in range(4)))
                await store.delete(await store.list_keys(""))
                proxy.cut()


async def test_that_the_store_is_silent_is_found_out_once_and_told_at_once(
    minio: MinioAccess,
) -> None:
    port, clock = int(minio.endpoint.rpartition(":")[2]), asyncio.get_running_loop().time
    async with proxy_before("127.0.0.1", port) as proxy:
        access = MinioAccess(f"http://127.0.0.1:{proxy.port}", minio.access_key, minio.secret_key)
        async with fresh(access) as store:
            proxy.freeze()
            proxy.silent = True
            began = clock()
            await asyncio.gather(*(unavailable(store.head(KEY)) for _ in range(3)))
            assert clock() - began < SILENCE_SECONDS
            began = clock()
            for _ in range(100):
                assert str(await unavailable(store.head(KEY))) == "the store is silent"
            assert clock() - began < 1.0
            proxy.silent = False

            async def is_back() -> bool:
                try:
                    return await store.head(KEY) is None
                except StoreUnavailable:
                    return False

            await eventually(is_back, seconds=SILENCE_SECONDS)
            proxy.cut()


async def test_neither_keys_nor_signatures_get_into_logs_and_errors(
    minio: MinioAccess, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    texts: list[str] = []
    async with fresh(minio) as store:
        await CALLS["upload"](store, folder)
        await store.list_keys("")
        await store.upload_url(
            KEY, content_type="image/jpeg", expires_seconds=60, size=None, sha256=None
        )
    dead = MinioAccess(NOBODY.endpoint, minio.access_key, minio.secret_key)
    async with scripted() as (access, _):
        silent = MinioAccess(access.endpoint, minio.access_key, minio.secret_key)
        for broken in (dead, silent):
            async with opened(broken, limits=SHORT) as store:
                for call in CALLS.values():
                    error = await unavailable(call(store, folder))
                    texts += traceback.format_exception(error)
    text = "\n".join([caplog.text, *texts])
    assert minio.secret_key not in text
    assert "Signature" not in text
