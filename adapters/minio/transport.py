"""The hot path: signed requests over kept-alive connections.

Requests carry their signature in a header, never in the URL: aiohttp writes URLs into its errors.
"""

from asyncio import timeout
from collections.abc import AsyncGenerator, Callable, Collection, Mapping
from contextlib import asynccontextmanager
from datetime import datetime
from http import HTTPStatus
from pathlib import Path

import aiohttp
from aiohttp.abc import AbstractStreamWriter
from aiohttp.payload import Payload
from yarl import URL

from adapters.minio.limits import Limits
from adapters.minio.refusals import (
    NO_SUCH_BUCKET,
    StoreRefusal,
    error_code,
    refused,
    unanswered,
)
from adapters.minio.sigv4 import Endpoint, Signer, escape_path

_CHUNK_BYTES = 256 * 1024
_ERROR_BYTES_MAX = 16 * 1024


class FileBody(Payload):
    """A file as a request body, in chunks, which aiohttp can send again from its start.

    Read on the event loop: a chunk that lies in the page cache, where a file just written is,
    comes faster than a thread is woken. aiohttp's own file payload asks a thread for each.
    """

    _autoclose = True

    def __init__(self, source: Path) -> None:
        super().__init__(source)
        self._source = source
        self._size = source.stat().st_size

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        return self._source.read_text(encoding, errors)

    async def write(self, writer: AbstractStreamWriter) -> None:
        with self._source.open("rb") as file:
            while chunk := file.read(_CHUNK_BYTES):
                await writer.write(chunk)


class Transport:
    """One bucket behind one endpoint. To be opened inside the event loop that uses it."""

    def __init__(
        self,
        endpoint: Endpoint,
        bucket: str,
        signer: Signer,
        clock: Callable[[], datetime],
        limits: Limits,
    ) -> None:
        self._endpoint = endpoint
        self._bucket = bucket
        self._signer = signer
        self._clock = clock
        self._limits = limits
        self._session: aiohttp.ClientSession | None = None

    def open(self) -> None:
        limits = self._limits
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                limit=limits.connections, keepalive_timeout=limits.keepalive_seconds
            ),
            cookie_jar=aiohttp.DummyCookieJar(),
            # An upload may have come with a Content-Encoding: the stored bytes are what counts.
            auto_decompress=False,
            headers={"Accept-Encoding": "identity"},
            timeout=aiohttp.ClientTimeout(
                sock_connect=limits.connect_timeout_seconds, sock_read=limits.read_timeout_seconds
            ),
        )

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    @asynccontextmanager
    async def request(
        self,
        method: str,
        key: str,
        *,
        expected: Collection[int] = (),
        headers: Mapping[str, str] | None = None,
        body: FileBody | None = None,
        deadline_seconds: float,
    ) -> AsyncGenerator[aiohttp.ClientResponse]:
        """The answer 200, body unread; an empty key asks about the bucket.

        Raises StoreRefusal for a status in `expected`, StoreUnavailable for everything else. The
        deadline covers what the caller does with the answer, too. A request on a connection that
        turns out to be closed is sent once more by aiohttp: the methods here are idempotent.
        """
        assert self._session is not None, "the store was not opened"
        operation = f"{method} {key or self._bucket}"
        path = escape_path(self._bucket, key)
        signed = self._signer.authorize(method, path, headers=headers or {}, now=self._clock())
        url = URL(self._endpoint.base + path, encoded=True)
        try:
            async with (
                timeout(deadline_seconds),
                self._session.request(
                    method, url, headers=signed, data=body, allow_redirects=False
                ) as response,
            ):
                if response.status != HTTPStatus.OK:
                    refusal = await _refusal(response)
                    if refusal.status in expected and refusal.code != NO_SUCH_BUCKET:
                        raise refusal
                    raise refused(operation, self._bucket, refusal) from refusal
                yield response
        except (aiohttp.ClientError, TimeoutError, ConnectionError) as error:
            raise unanswered(operation, self._endpoint.base, error) from error


async def _refusal(response: aiohttp.ClientResponse) -> StoreRefusal:
    body = b""
    while len(body) < _ERROR_BYTES_MAX and (chunk := await response.content.readany()):
        body += chunk
    return StoreRefusal(response.status, error_code(body) or response.reason or "without a reason")
