"""A client of the API that distrusts it: each answer must be one the OpenAPI document describes."""

import json
from collections.abc import AsyncGenerator, AsyncIterable, Mapping
from contextlib import asynccontextmanager
from datetime import datetime
from itertools import count
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp
from yarl import URL

from domain.lifecycle import State
from domain.media import Media
from tests.api.conformity import Contract, Reply
from tests.support import builders
from tests.support.builders import NOW
from tests.support.sets import DatabasePorts, StorePorts

PHOTO = b"\xff\xd8\xff a photo"
JPEG = {"content_type": "image/jpeg", "file_name": "test.jpg"}
Json = dict[str, Any]


class Api:
    """Calls by path; `stores.client` follows links as a browser would."""

    def __init__(
        self,
        url: str,
        folder: Path,
        session: aiohttp.ClientSession,
        databases: DatabasePorts,
        stores: StorePorts,
    ) -> None:
        self.url = url
        self.folder = folder
        self.databases = databases
        self.stores = stores
        self.contract = Contract({})
        self._session = session
        self._numbers = count(1)

    async def open(self) -> None:
        reply = await self.send("GET", "/openapi.json", conforming=False)
        self.contract = Contract(reply.json())

    async def send(
        self,
        method: str,
        path: str,
        body: bytes | AsyncIterable[bytes] | None = None,
        headers: Mapping[str, str] | None = None,
        *,
        conforming: bool = True,
        expect100: bool = False,
    ) -> Reply:
        url = path if path.startswith("http") else self.url + path
        async with self._session.request(
            method,
            URL(url, encoded=True),
            data=body,
            headers=headers,
            allow_redirects=False,
            expect100=expect100,
        ) as answer:
            read = await answer.read()
            reply = Reply(method, urlsplit(url).path, answer.status, answer.headers, read)
        if conforming:
            self.contract.assert_conforms(reply)
        return reply

    async def get(self, path: str, headers: Mapping[str, str] | None = None) -> Reply:
        return await self.send("GET", path, headers=headers)

    async def post(self, path: str, value: Any) -> Reply:
        body = value if isinstance(value, bytes) else json.dumps(value).encode()
        return await self.send("POST", path, body, {"Content-Type": "application/json"})

    async def ticket(self, **more: Any) -> Json:
        reply = await self.post("/upload-url", {**JPEG, **more})
        assert reply.status == 201, reply
        return reply.json()

    async def upload(self, ticket: Json, body: bytes = PHOTO) -> None:
        answer = await self.stores.client.put(ticket["upload_url"], body, ticket["upload_headers"])
        assert answer.accepted, answer

    async def complete(self, ticket: Json) -> Reply:
        return await self.post(
            "/complete-upload",
            {"media_id": ticket["media_id"], "original_key": ticket["original_key"]},
        )

    async def media_in(self, state: State, *, now: datetime = NOW) -> Media:
        """A new media as if its whole life so far had happened, at `now`."""
        media = builders.in_state(state, next(self._numbers), now=now)
        async with self.databases.database.begin() as uow:
            await uow.media.add(media)
            await uow.commit()
        return media

    async def put_object(self, key: str, body: bytes) -> None:
        """Past all links, as somebody with the store's credentials can."""
        source = self.folder / "source"
        source.write_bytes(body)
        await self.stores.store.upload(key, source, content_type="image/webp")

    async def orders(self, media_id: str) -> int:
        """How many messages about the media wait in the outbox; each is counted once."""
        rows = await self.databases.relay.claim(limit=100, hold_seconds=30)
        return sum(row.request.media_id == media_id for row in rows)


def assert_problem(reply: Reply, status: int, code: str) -> Json:
    """The problem document, complete and without anything that is not the client's business."""
    assert (reply.status, reply.headers["Content-Type"]) == (status, "application/problem+json")
    problem = reply.json()
    assert problem["type"] == f"urn:image-pipeline:problem:{code}"
    assert (problem["status"], problem["code"]) == (status, code)
    assert problem["instance"] == reply.path
    assert problem["title"]
    assert problem["detail"]
    assert status != 422 or problem["errors"], "each refusal of a body names a field"
    assert b"Traceback" not in reply.body
    assert b".py" not in reply.body
    return problem


@asynccontextmanager
async def connected(
    url: str, folder: Path, databases: DatabasePorts, stores: StorePorts
) -> AsyncGenerator[Api]:
    skip = ["Content-Type", "Accept-Encoding", "User-Agent"]
    async with aiohttp.ClientSession(skip_auto_headers=skip) as session:
        api = Api(url, folder, session, databases, stores)
        await api.open()
        yield api
