"""A client of the HTTP contract, as polite as one should be: for the demo, tools and tests.

A 503 is waited out as `Retry-After` says; every call may be repeated, so a lost answer costs
nothing but the next try.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import aiohttp
from yarl import URL

from domain.errors import PipelineError
from domain.lifecycle import TERMINAL, State

Document = dict[str, Any]
T = TypeVar("T")

BUSY = 503
POLL_FIRST_SECONDS = 0.05
POLL_LAST_SECONDS = 1.0


class Refused(PipelineError):
    """The API or the store refused a call; `code` is the problem's, if it has one."""

    def __init__(self, status: int, code: str, detail: str) -> None:
        super().__init__(f"{status} {code}: {detail}")
        self.status = status
        self.code = code


class PipelineClient:
    """Calls the API at `base_url` over `session`, which belongs to the caller.

    `patience_seconds` is for how long a service that is unavailable, or does not answer, is
    asked again.
    """

    def __init__(
        self, base_url: str, session: aiohttp.ClientSession, *, patience_seconds: float = 60.0
    ) -> None:
        self._base_url = base_url.rstrip("/")
        self._session = session
        self._patience_seconds = patience_seconds

    async def request_upload(self, *, content_type: str, file_name: str, **more: Any) -> Document:
        body = {"content_type": content_type, "file_name": file_name, **more}
        return await self._call("POST", "/upload-url", body)

    async def put(self, ticket: Document, photo: bytes | Path) -> None:
        """Send the photo straight into the object store."""
        body = await asyncio.to_thread(photo.read_bytes) if isinstance(photo, Path) else photo
        await self._patiently(lambda: self._put_once(ticket, body))

    async def complete(self, ticket: Document) -> Document:
        body = {"media_id": ticket["media_id"], "original_key": ticket["original_key"]}
        return await self._call("POST", "/complete-upload", body)

    async def media(self, media_id: str) -> Document:
        return await self._call("GET", f"/media/{media_id}")

    async def finished(self, media_id: str, *, timeout_seconds: float = 60.0) -> Document:
        """The media once it is at rest; raises TimeoutError."""
        pause = POLL_FIRST_SECONDS
        async with asyncio.timeout(timeout_seconds):
            while True:
                document = await self.media(media_id)
                if State(document["status"]) in TERMINAL:
                    return document
                await asyncio.sleep(pause)
                pause = min(POLL_LAST_SECONDS, pause * 1.3)

    async def _call(self, method: str, path: str, body: Document | None = None) -> Document:
        return await self._patiently(lambda: self._once(method, path, body))

    async def _patiently(self, once: Callable[[], Awaitable[T]]) -> T:
        """Make a call that may be repeated, until it is answered or patience is at its end."""
        deadline = asyncio.get_running_loop().time() + self._patience_seconds
        while True:
            try:
                return await once()
            except _Later as later:
                if asyncio.get_running_loop().time() + later.seconds > deadline:
                    raise later.reason from None
                await asyncio.sleep(later.seconds)

    async def _put_once(self, ticket: Document, body: bytes) -> None:
        url = URL(ticket["upload_url"], encoded=True)
        headers: Mapping[str, str] = ticket["upload_headers"]
        try:
            async with self._session.put(url, data=body, headers=headers) as answer:
                if answer.status < 400:  # noqa: PLR2004 - HTTP
                    return
                refused = Refused(answer.status, "upload-refused", (await answer.text())[:300])
        except (aiohttp.ClientError, TimeoutError) as error:
            reason = f"the store at {url.origin()} does not answer: {error}"
            raise _Later(1.0, PipelineError(reason)) from None
        if answer.status == BUSY:
            raise _Later(_retry_after(answer), refused)
        raise refused

    async def _once(self, method: str, path: str, body: Document | None) -> Document:
        try:
            async with self._session.request(method, self._base_url + path, json=body) as answer:
                document: Document = await answer.json(content_type=None)
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            raise _Later(1.0, PipelineError(f"{self._base_url} does not answer: {error}")) from None
        if answer.status < 400:  # noqa: PLR2004 - HTTP
            return document
        refused = Refused(answer.status, document.get("code", ""), document.get("detail", ""))
        if answer.status == BUSY:
            raise _Later(_retry_after(answer), refused)
        raise refused


def _retry_after(answer: aiohttp.ClientResponse) -> float:
    """Seconds; a second where the header is missing or is a date."""
    text = answer.headers.get("Retry-After", "")
    return float(text) if text.isdecimal() else 1.0


class _Later(Exception):
    """Worth another try in `seconds`; `reason` is what to raise when patience is at its end."""

    def __init__(self, seconds: float, reason: PipelineError) -> None:
        super().__init__(str(reason))
        self.seconds = seconds
        self.reason = reason
