"""The object store and its signed links over plain S3: MinIO or any store that speaks it."""

import hashlib
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from http import HTTPStatus
from pathlib import Path
from typing import BinaryIO

import aiohttp

from adapters.breaker import Breaker
from adapters.minio.administration import Administration
from adapters.minio.limits import Limits
from adapters.minio.refusals import NO_SUCH_BUCKET, StoreRefusal, refused
from adapters.minio.sigv4 import Endpoint, Signer, escape_path
from adapters.minio.transport import FileBody, Transport
from application.ports import (
    Dependency,
    Downloaded,
    ObjectStore,
    SignedUpload,
    StoredObject,
    UrlSigner,
)
from domain.errors import ProcessingFailed, StoreUnavailable
from domain.failure import FailureCode

_NOBODYS_KEY = "media/nobody"  # no media has such an id
_NOT_PINNED = {
    HTTPStatus.NOT_FOUND: (
        FailureCode.ORIGINAL_MISSING,
        "The uploaded file is not in the store any more.",
    ),
    HTTPStatus.PRECONDITION_FAILED: (
        FailureCode.ORIGINAL_CHANGED,
        "The uploaded file is not the one that was completed.",
    ),
}


class MinioStore(ObjectStore, UrlSigner, Dependency):
    """One bucket. I/O goes to `endpoint`; links are signed for `public_endpoint`.

    The host is part of a signature, so clients must reach the store under exactly the public
    endpoint. `clock` gives the wall time in UTC; the store tolerates 15 minutes of difference.
    """

    def __init__(
        self,
        endpoint: str,
        public_endpoint: str,
        access_key: str,
        secret_key: str,
        bucket: str,
        *,
        clock: Callable[[], datetime],
        region: str = "us-east-1",
        limits: Limits | None = None,
    ) -> None:
        """Raises InvalidConfiguration if an endpoint is not of the form `http://host:port`."""
        internal = Endpoint.parse(endpoint)
        self._bucket = bucket
        self._clock = clock
        self._limits = limits or Limits()
        self._public = Signer(Endpoint.parse(public_endpoint), access_key, secret_key, region)
        signer = Signer(internal, access_key, secret_key, region)
        self._transport = Transport(internal, bucket, signer, clock, self._limits)
        # A question is asked on a new connection: an old one may be silent by itself.
        fresh = replace(self._limits, connections=1, keepalive_seconds=0.0)
        self._questions = Transport(internal, bucket, signer, clock, fresh)
        self._breaker = Breaker(
            lambda: self._ask(self._questions), _silent, patience=self._limits.patience
        )
        self._administration = Administration(
            internal,
            bucket,
            access_key=access_key,
            secret_key=secret_key,
            region=region,
            limits=self._limits,
        )

    async def open(self) -> None:
        """Make the connection pools; talks to nobody yet."""
        self._transport.open()
        self._questions.open()
        await self._administration.open()

    async def close(self) -> None:
        """Let go of all connections. Closing twice is no error."""
        await self._breaker.close()
        await self._administration.close()
        await self._questions.close()
        await self._transport.close()

    async def create_bucket(self) -> None:
        """Create the bucket, private, unless it is there; then check that it can be used."""
        await self._administration.create_bucket()
        await self.check()

    # --- Dependency ---

    @property
    def name(self) -> str:
        return "minio"

    async def check(self) -> None:
        await self._ask(self._transport)

    async def _ask(self, transport: Transport) -> None:
        try:
            async with transport.request(
                "HEAD",
                "",
                expected={HTTPStatus.NOT_FOUND},
                deadline_seconds=self._limits.check_timeout_seconds,
            ):
                return
        except StoreRefusal as refusal:
            missing = StoreRefusal(refusal.status, NO_SUCH_BUCKET)
            raise refused(f"HEAD {self._bucket}", self._bucket, missing) from refusal

    # --- ObjectStore ---

    async def head(self, key: str) -> StoredObject | None:
        """As the port says. A client waits for it: that the store is silent is told at once."""
        async with self._breaker.call():
            return await self._head(key)

    async def _head(self, key: str) -> StoredObject | None:
        try:
            async with self._transport.request(
                "HEAD",
                key,
                expected={HTTPStatus.NOT_FOUND},
                deadline_seconds=self._limits.deadline_seconds(0),
            ) as answer:
                size = answer.content_length or 0
                return StoredObject(answer.headers["ETag"].strip('"'), size)
        except StoreRefusal:
            # The answer to a HEAD has no body that would tell a missing key from a missing bucket.
            await self.check()
            return None

    async def download(self, key: str, *, etag: str, to: Path, max_bytes: int) -> Downloaded:
        try:
            async with self._transport.request(
                "GET",
                key,
                headers={"If-Match": f'"{etag}"'},
                expected=_NOT_PINNED.keys(),
                deadline_seconds=self._limits.deadline_seconds(max_bytes),
            ) as answer:
                if (answer.content_length or 0) > max_bytes:
                    raise _too_many_bytes(max_bytes)
                return await _save(answer.content, to, max_bytes)
        except StoreRefusal as refusal:
            # A photo ends with these codes: be sure that the bucket is not the reason.
            await self.check()
            code, detail = _NOT_PINNED[HTTPStatus(refusal.status)]
            raise ProcessingFailed(code, detail) from refusal
        except StoreUnavailable as outage:
            if isinstance(outage.__cause__, TimeoutError) or not await self._reads_others():
                raise
            raise _unreadable(key, outage) from outage

    async def _reads_others(self) -> bool:
        """Whether the store answers, and would let us read: that an object is not there says so.

        Who may not read is refused before he is told that.
        """
        try:
            return await self.head(_NOBODYS_KEY) is None
        except StoreUnavailable:
            return False

    async def upload(self, key: str, source: Path, *, content_type: str) -> None:
        body = FileBody(source)
        async with self._transport.request(
            "PUT",
            key,
            headers={"Content-Type": content_type},
            body=body,
            deadline_seconds=self._limits.deadline_seconds(body.size or 0),
        ):
            return

    async def list_keys(self, prefix: str) -> Sequence[str]:
        return await self._administration.list_keys(prefix)

    async def delete(self, keys: Sequence[str]) -> None:
        await self._administration.delete(keys)

    # --- UrlSigner ---

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
        every HTTP client sends it by itself, and browsers refuse to have it set.
        """
        headers = {"Content-Type": content_type}
        if sha256 is not None:
            headers |= {"x-amz-checksum-sha256": sha256, "If-None-Match": "*"}
        length = {} if size is None else {"Content-Length": str(size)}
        return SignedUpload(self._sign("PUT", key, headers | length, expires_seconds), headers)

    async def download_url(self, key: str, *, expires_seconds: int) -> str:
        return self._sign("GET", key, {}, expires_seconds)

    def _sign(self, method: str, key: str, headers: dict[str, str], expires_seconds: int) -> str:
        return self._public.presign(
            method,
            escape_path(self._bucket, key),
            headers=headers,
            expires_seconds=expires_seconds,
            now=self._clock(),
        )


def _silent() -> StoreUnavailable:
    return StoreUnavailable("the store is silent")


async def _save(content: aiohttp.StreamReader, to: Path, max_bytes: int) -> Downloaded:
    """Write to the new file `to`, or leave none behind.

    On the event loop: hashing and writing a chunk takes less time than handing it to a thread.
    """
    digest, size = hashlib.sha256(), 0
    with _new_file(to) as file:
        async for chunk in content.iter_any():
            size += len(chunk)
            if size > max_bytes:
                raise _too_many_bytes(max_bytes)
            digest.update(chunk)
            file.write(chunk)
    return Downloaded(size, digest.hexdigest())


@contextmanager
def _new_file(path: Path) -> Generator[BinaryIO]:
    with path.open("xb") as file:
        try:
            yield file
        except BaseException:
            path.unlink()
            raise


def _unreadable(key: str, outage: StoreUnavailable) -> ProcessingFailed:
    cause = outage.__cause__
    reason = str(cause) if isinstance(cause, StoreRefusal) else type(cause).__name__
    detail = f"The store cannot read {key}, although others can be read: {reason}."
    return ProcessingFailed(FailureCode.ORIGINAL_UNREADABLE, detail)


def _too_many_bytes(max_bytes: int) -> ProcessingFailed:
    return ProcessingFailed(
        FailureCode.TOO_MANY_BYTES, f"The file has more than {max_bytes} bytes."
    )
