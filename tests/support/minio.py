"""A MinioStore on a bucket of its own, a client that knows nothing but links, a scripted store."""

import asyncio
import secrets
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, cast

import aiohttp
from yarl import URL

from adapters.minio import Limits, MinioStore
from tests.support.leaks import no_leaks
from tests.support.services import MinioAccess

SHORT = Limits(connect_timeout_seconds=0.2, read_timeout_seconds=0.2, check_timeout_seconds=0.2)
NOBODY = MinioAccess("http://127.0.0.1:1", "nobody-access", "nobody-secret")


def utc_now() -> datetime:
    return datetime.now(UTC)


@asynccontextmanager
async def opened(
    access: MinioAccess,
    *,
    public_endpoint: str | None = None,
    bucket: str | None = None,
    clock: Callable[[], datetime] = utc_now,
    limits: Limits | None = None,
) -> AsyncGenerator[MinioStore]:
    """An open store; it must have given back its connections on leaving, and nothing be left."""
    store = MinioStore(
        access.endpoint,
        public_endpoint or access.endpoint,
        access.access_key,
        access.secret_key,
        bucket or f"test-{secrets.token_hex(8)}",
        clock=clock,
        limits=limits,
    )
    async with no_leaks():
        await store.open()
        try:
            yield store
            assert borrowed(store) == 0
        finally:
            await store.close()


@asynccontextmanager
async def fresh(
    access: MinioAccess,
    *,
    public_endpoint: str | None = None,
    clock: Callable[[], datetime] = utc_now,
) -> AsyncGenerator[MinioStore]:
    """An open store with a new bucket."""
    async with opened(access, public_endpoint=public_endpoint, clock=clock) as store:
        await store.create_bucket()
        yield store


def borrowed(store: MinioStore) -> int:
    """How many connections of the hot path are in use; no public face of aiohttp tells."""
    session = cast("Any", store)._transport._session
    return len(session.connector._acquired)


async def ask(
    method: str, url: str, *, headers: Mapping[str, str] | None = None, body: bytes | None = None
) -> tuple[int, bytes]:
    """Status and body, from a client that has the link and nothing else."""
    async with (
        aiohttp.ClientSession(auto_decompress=False) as session,
        session.request(method, URL(url, encoded=True), headers=headers, data=body) as answer,
    ):
        return answer.status, await answer.read()


async def put(url: str, body: bytes, headers: Mapping[str, str]) -> int:
    status, _ = await ask("PUT", url, headers=headers, body=body)
    return status


@dataclass
class Script:
    """What a false store says: one answer for each request; None closes the connection instead.

    After the last answer it is silent. `heads` are the requests it got, without bodies.
    """

    answers: list[bytes | None] = field(default_factory=list[bytes | None])
    heads: list[str] = field(default_factory=list[str])
    connections: int = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while await self._answer(reader, writer):
                pass
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        self.heads.append(head)
        length = [line[15:] for line in head.lower().split("\r\n") if "content-length:" in line]
        await reader.readexactly(int(length[0]) if length else 0)
        if not self.answers:
            await reader.read()
            return False
        answer = self.answers.pop(0)
        if answer is None:
            return False
        writer.write(answer)
        await writer.drain()
        return b"Connection: close" not in answer


@asynccontextmanager
async def scripted(*answers: bytes | None) -> AsyncGenerator[tuple[MinioAccess, Script]]:
    """A false store that follows a script."""
    script = Script(list(answers))
    server = await asyncio.start_server(script.serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    try:
        yield MinioAccess(f"http://127.0.0.1:{port}", "script-access", "script-secret"), script
    finally:
        server.close()


def answer(status: str, body: bytes = b"", *headers: str, length: int | None = None) -> bytes:
    """An HTTP answer; with a `length` that is not that of the body, a lie."""
    size = len(body) if length is None else length
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {size}", *headers, "", ""]
    return "\r\n".join(lines).encode() + body


def error_document(code: str) -> bytes:
    return f"<Error><Code>{code}</Code><Resource>/secret-resource</Resource></Error>".encode()
