"""The object store in a folder, and the receiving end of its signed links."""

import base64
import hashlib
import os
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from pathlib import Path

from adapters.filesystem.errors import (
    AlreadyStored,
    BodyIncomplete,
    BodyTooLarge,
    ChecksumMismatch,
    LengthRequired,
    ObjectDamaged,
    ObjectNotFound,
)
from adapters.filesystem.keys import key_to_path
from adapters.filesystem.objects import CHUNK_BYTES, Incoming, Objects, OpenObject
from adapters.filesystem.signing import LinkSigner
from adapters.threads import run_to_the_end
from application.ports import Dependency, ObjectStore, UrlSigner
from application.values import Downloaded, SignedUpload, StoredObject
from domain.errors import ProcessingFailed, StoreUnavailable
from domain.failure import FailureCode

_CHECKSUM = "x-amz-checksum-sha256"
_ONCE = "if-none-match"
_LENGTH_DIGITS_MAX = 18


class FilesystemStore(ObjectStore, UrlSigner, Dependency):
    """Objects below `root`; links start with `public_url` and end at `receive_upload` and
    `open_download`, which the API calls for `PUT` and `GET {public_url}/objects/{key}`.

    `max_bytes` is the largest upload by link. Several processes may share `root`, `secret` and
    with them the links.
    """

    def __init__(
        self,
        root: Path,
        public_url: str,
        secret: bytes,
        *,
        clock: Callable[[], datetime],
        max_bytes: int,
    ) -> None:
        self._objects = Objects(root)
        self._signer = LinkSigner(public_url, secret)
        self._clock = clock
        self._max_bytes = max_bytes

    async def open(self) -> None:
        """Make the folders; remove what killed processes have left unfinished."""
        await run_to_the_end(self._objects.prepare)

    @property
    def name(self) -> str:
        return "store"

    async def check(self) -> None:
        """Ready if a file can be written."""
        async with self._new_object() as incoming:
            await run_to_the_end(lambda: self._objects.write(incoming, b"?"))

    # --- the store ---------------------------------------------------------------------------

    async def head(self, key: str) -> StoredObject | None:
        stored = await run_to_the_end(lambda: self._objects.open(key))
        if stored is None:
            return None
        stored.close()
        return StoredObject(stored.etag, stored.size)

    async def download(self, key: str, *, etag: str, to: Path, max_bytes: int) -> Downloaded:
        try:
            return await self._download(key, etag, to, max_bytes)
        except ObjectDamaged as damage:
            await self.check()
            detail = f"The object {key} is damaged: {damage}."
            raise ProcessingFailed(FailureCode.ORIGINAL_UNREADABLE, detail) from damage

    async def _download(self, key: str, etag: str, to: Path, max_bytes: int) -> Downloaded:
        stored = await run_to_the_end(lambda: self._objects.open(key))
        if stored is None:
            code, detail = FailureCode.ORIGINAL_MISSING, f"There is no object {key}."
            raise ProcessingFailed(code, detail)
        try:
            if stored.etag != etag:
                code, detail = FailureCode.ORIGINAL_CHANGED, f"The object {key} was replaced."
                raise ProcessingFailed(code, detail)
            if stored.size > max_bytes:
                detail = f"The file has {stored.size} bytes; {max_bytes} are allowed."
                raise ProcessingFailed(FailureCode.TOO_MANY_BYTES, detail)
            return await run_to_the_end(lambda: _copy(stored, to))
        finally:
            stored.close()

    async def upload(self, key: str, source: Path, *, content_type: str) -> None:
        async with self._new_object() as incoming:
            await run_to_the_end(lambda: self._fill(incoming, source, key, content_type))

    async def list_keys(self, prefix: str) -> Sequence[str]:
        return await run_to_the_end(lambda: self._objects.list_keys(prefix))

    async def delete(self, keys: Sequence[str]) -> None:
        await run_to_the_end(lambda: self._objects.delete(keys))

    # --- links -------------------------------------------------------------------------------

    async def upload_url(
        self,
        key: str,
        *,
        content_type: str,
        expires_seconds: int,
        size: int | None,
        sha256: str | None,
    ) -> SignedUpload:
        """As the port says. A size is signed as Content-Length, which is not among the headers:
        every HTTP client sends it by itself.
        """
        key_to_path(key)  # Refuses now what could not be stored later.
        headers = {"Content-Type": content_type}
        if sha256 is not None:
            headers |= {_CHECKSUM: sha256, "If-None-Match": "*"}
        length = {} if size is None else {"Content-Length": str(size)}
        signed = _lower_names(headers | length)
        return SignedUpload(
            self._signer.url("PUT", key, self._in(expires_seconds), signed), headers
        )

    async def download_url(self, key: str, *, expires_seconds: int) -> str:
        return self._signer.url("GET", key, self._in(expires_seconds))

    def _in(self, seconds: int) -> datetime:
        return self._clock() + timedelta(seconds=seconds)

    # --- the receiving end -------------------------------------------------------------------

    async def receive_upload(
        self,
        key: str,
        query: Mapping[str, str],
        headers: Mapping[str, str],
        chunks: AsyncIterator[bytes],
    ) -> None:
        """Store the body of a PUT to a link; durable on return, and nothing of it on any error.

        `key` and `query` are decoded. Holds a few megabytes of the body at most. Raises
        TransferRefused, with the status to answer, or StoreUnavailable.
        """
        headers = _lower_names(headers)
        self._signer.verify("PUT", key, query, headers, self._clock())
        length = self._accepted_length(headers)
        once = headers.get(_ONCE) == "*"
        if once and await self.head(key) is not None:
            raise AlreadyStored(key)
        async with self._new_object() as incoming:
            await self._receive(incoming, chunks, length)
            digest = base64.b64encode(incoming.digest).decode()
            if headers.get(_CHECKSUM, digest) != digest:
                raise ChecksumMismatch
            content_type = headers.get("content-type", "application/octet-stream")
            await run_to_the_end(
                lambda: self._objects.publish(incoming, key, content_type, once=once)
            )

    async def open_download(self, key: str, query: Mapping[str, str]) -> OpenObject:
        """The object of a GET of a link, to be read in a thread and closed by the caller.

        Raises TransferRefused, with the status to answer, or StoreUnavailable.
        """
        self._signer.verify("GET", key, query, {}, self._clock())
        stored = await run_to_the_end(lambda: self._objects.open(key))
        if stored is None:
            raise ObjectNotFound(key)
        return stored

    def _accepted_length(self, headers: Mapping[str, str]) -> int:
        text = headers.get("content-length", "")
        if not (text.isascii() and text.isdecimal() and len(text) <= _LENGTH_DIGITS_MAX):
            raise LengthRequired
        if int(text) > self._max_bytes:
            raise BodyTooLarge(int(text), self._max_bytes)
        return int(text)

    async def _receive(self, incoming: Incoming, chunks: AsyncIterator[bytes], length: int) -> None:
        """Gathers small chunks: a trip to the thread costs more than writing one of them."""
        gathered = bytearray()
        async for chunk in chunks:
            gathered += chunk
            if incoming.size + len(gathered) > length:
                raise BodyIncomplete(incoming.size + len(gathered), length)
            if len(gathered) >= CHUNK_BYTES:
                await self._write(incoming, gathered)
                gathered = bytearray()
        await self._write(incoming, gathered)
        if incoming.size != length:
            raise BodyIncomplete(incoming.size, length)

    async def _write(self, incoming: Incoming, data: bytearray) -> None:
        await run_to_the_end(lambda: self._objects.write(incoming, data))

    @asynccontextmanager
    async def _new_object(self) -> AsyncGenerator[Incoming]:
        """A temporary file, gone at the end whatever happened."""
        made: list[Incoming] = []
        try:
            await run_to_the_end(lambda: made.append(self._objects.create()))
            yield made[0]
        finally:
            if made:
                await run_to_the_end(lambda: self._objects.discard(made[0]))

    def _fill(self, incoming: Incoming, source: Path, key: str, content_type: str) -> None:
        with source.open("rb") as file:
            while data := file.read(CHUNK_BYTES):
                self._objects.write(incoming, data)
        self._objects.publish(incoming, key, content_type, once=False)


def _lower_names(headers: Mapping[str, str]) -> dict[str, str]:
    return {name.lower(): value for name, value in headers.items()}


def _copy(stored: OpenObject, to: Path) -> Downloaded:
    """Into the new file `to`, or none is left."""
    digest = hashlib.sha256()
    try:
        with to.open("xb") as file:
            while data := stored.read():
                digest.update(data)
                file.write(data)
    except FileExistsError:
        raise
    except (OSError, StoreUnavailable) as error:
        to.unlink(missing_ok=True)
        if isinstance(error, StoreUnavailable):
            raise
        raise StoreUnavailable(f"the download: {os.strerror(error.errno or 0)}") from error
    return Downloaded(stored.size, digest.hexdigest())
