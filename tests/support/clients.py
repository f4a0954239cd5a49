"""What a client without credentials does with a link."""

from collections.abc import AsyncIterator, Mapping
from contextlib import closing
from typing import NamedTuple, Protocol
from urllib.parse import parse_qsl, unquote, urlsplit

import aiohttp
from yarl import URL

from adapters.filesystem import FilesystemStore, TransferRefused
from adapters.memory.store import MemoryStore, Refused


class Answer(NamedTuple):
    status: int
    body: bytes

    @property
    def accepted(self) -> bool:
        return 200 <= self.status < 300


class StoreClient(Protocol):
    """PUT and GET of a link, as curl would do them."""

    async def put(self, url: str, body: bytes, headers: Mapping[str, str]) -> Answer: ...
    async def get(self, url: str) -> Answer: ...


class HttpClient(StoreClient):
    """Over the network. Links are used as they are: escaping them anew would break signatures."""

    async def put(self, url: str, body: bytes, headers: Mapping[str, str]) -> Answer:
        return await self._send("PUT", url, data=body, headers=headers)

    async def get(self, url: str) -> Answer:
        return await self._send("GET", url)

    async def _send(
        self,
        method: str,
        url: str,
        *,
        data: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        async with (
            aiohttp.ClientSession(skip_auto_headers=["Content-Type"]) as session,
            session.request(method, URL(url, encoded=True), data=data, headers=headers) as answer,
        ):
            return Answer(answer.status, await answer.read())


class FilesystemClient(StoreClient):
    """What the API does with a request for a signed link, without the API."""

    def __init__(self, store: FilesystemStore) -> None:
        self._store = store

    async def put(self, url: str, body: bytes, headers: Mapping[str, str]) -> Answer:
        key, query = _parse(url)
        headers = {**headers, "Content-Length": str(len(body))}
        try:
            await self._store.receive_upload(key, query, headers, _chunks(body))
        except TransferRefused as refused:
            return Answer(refused.status, b"")
        return Answer(200, b"")

    async def get(self, url: str) -> Answer:
        try:
            stored = await self._store.open_download(*_parse(url))
        except TransferRefused as refused:
            return Answer(refused.status, b"")
        with closing(stored):
            return Answer(200, b"".join(iter(stored.read, b"")))


class MemoryClient(StoreClient):
    """Straight into the fake, which answers as a store would."""

    def __init__(self, store: MemoryStore) -> None:
        self._store = store

    async def put(self, url: str, body: bytes, headers: Mapping[str, str]) -> Answer:
        try:
            self._store.put(url, body, headers)
        except Refused as refused:
            return Answer(refused.status, b"")
        return Answer(200, b"")

    async def get(self, url: str) -> Answer:
        try:
            return Answer(200, self._store.fetch(url))
        except Refused as refused:
            return Answer(refused.status, b"")


def _parse(url: str) -> tuple[str, dict[str, str]]:
    """Key and query of a link, decoded once, as a web framework hands them on."""
    parts = urlsplit(url)
    key = unquote(parts.path.removeprefix("/objects/"))
    return key, dict(parse_qsl(parts.query, keep_blank_values=True))


async def _chunks(body: bytes, size: int = 4096) -> AsyncIterator[bytes]:
    for start in range(0, len(body), size):
        yield body[start : start + size]
