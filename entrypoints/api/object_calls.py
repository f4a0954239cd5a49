"""The embedded set's store as HTTP: PUT and GET of signed links, streamed both ways."""

from collections.abc import AsyncIterator
from urllib.parse import parse_qsl, unquote

from litestar.handlers import HTTPRouteHandler
from litestar.types import (
    ASGIApp,
    HTTPResponseBodyEvent,
    HTTPResponseStartEvent,
    Receive,
    Scope,
    Send,
)

from adapters.filesystem import FilesystemStore, OpenObject
from adapters.threads import run_to_the_end
from entrypoints.api.answers import Answer
from entrypoints.api.framework import READ, route
from entrypoints.api.requests import AnyRequest, body_chunks

PREFIX = "/objects/"


class ObjectCalls:
    """Refusals are the store's; no body is held in memory as a whole."""

    def __init__(self, store: FilesystemStore) -> None:
        self._store = store

    def routes(self) -> list[HTTPRouteHandler]:
        path = PREFIX + "{key:path}"
        return [route(path, "PUT", self.put), route(path, READ, self.get)]

    async def put(self, request: AnyRequest) -> ASGIApp:
        await self._store.receive_upload(
            _key(request), _query(request), _headers(request), body_chunks(request)
        )
        return Answer(200)

    async def get(self, request: AnyRequest) -> ASGIApp:
        return Download(await self._store.open_download(_key(request), _query(request)))


class Download:
    """One object as an answer. Closed at the end, whatever becomes of the client."""

    def __init__(self, stored: OpenObject) -> None:
        self._stored = stored

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        del receive
        try:
            await send(self._start())
            if scope["type"] == "http" and scope["method"] != "HEAD":
                async for chunk in self._chunks():
                    await send(_body(chunk, more=True))
            await send(_body(b"", more=False))
        finally:
            self._stored.close()

    def _start(self) -> HTTPResponseStartEvent:
        """The type is the one that was uploaded: a browser must not guess another."""
        headers = {
            "content-length": str(self._stored.size),
            "content-type": self._stored.content_type,
            "etag": f'"{self._stored.etag}"',
            "x-content-type-options": "nosniff",
            "accept-ranges": "none",
        }
        raw = [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]
        return {"type": "http.response.start", "status": 200, "headers": raw}

    async def _chunks(self) -> AsyncIterator[bytes]:
        while chunk := await run_to_the_end(self._stored.read):
            yield chunk


def _body(chunk: bytes, *, more: bool) -> HTTPResponseBodyEvent:
    return {"type": "http.response.body", "body": chunk, "more_body": more}


def _key(request: AnyRequest) -> str:
    """From the path as it was sent: the framework's own would lose empty segments."""
    return unquote(request.scope["raw_path"].decode("latin-1")).removeprefix(PREFIX)


def _query(request: AnyRequest) -> dict[str, str]:
    query = request.scope["query_string"].decode("latin-1")
    return dict(parse_qsl(query, keep_blank_values=True))


def _headers(request: AnyRequest) -> dict[str, str]:
    raw = request.scope["headers"]
    return {name.decode("latin-1"): value.decode("latin-1") for name, value in raw}
