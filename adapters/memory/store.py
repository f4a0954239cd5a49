"""An object store in memory, with links that are as strict as signed ones."""

import asyncio
import base64
import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import count
from pathlib import Path
from urllib.parse import quote

from application.ports import Dependency, ObjectStore, UrlSigner
from application.values import Downloaded, SignedUpload, StoredObject
from domain.errors import ProcessingFailed
from domain.failure import FailureCode

Clock = Callable[[], datetime]


class Refused(Exception):
    """The store refuses a client's request; `status` is the HTTP status."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status


@dataclass(frozen=True, slots=True)
class MemoryObject:
    body: bytes
    etag: str
    content_type: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """What a link allows."""

    key: str
    expires_at: datetime
    headers: Mapping[str, str] | None = None
    size: int | None = None


class MemoryStore(ObjectStore, UrlSigner, Dependency):
    """Objects by key; links by number. `put` and `fetch` are what a client does with a link."""

    def __init__(self, clock: Clock) -> None:
        self.objects: dict[str, MemoryObject] = {}
        self._clock = clock
        self._grants: dict[str, Grant] = {}
        self._numbers = count(1)

    @property
    def name(self) -> str:
        return "store"

    async def check(self) -> None:
        """Memory is always there."""

    # --- ObjectStore -------------------------------------------------------------------------

    async def head(self, key: str) -> StoredObject | None:
        await asyncio.sleep(0)
        found = self.objects.get(key)
        return StoredObject(found.etag, len(found.body)) if found else None

    async def download(self, key: str, *, etag: str, to: Path, max_bytes: int) -> Downloaded:
        await asyncio.sleep(0)
        found = self.objects.get(key)
        if found is None:
            raise ProcessingFailed(FailureCode.ORIGINAL_MISSING, "Upload the photo again.")
        if found.etag != etag:
            raise ProcessingFailed(FailureCode.ORIGINAL_CHANGED, "Upload the photo as a new one.")
        if len(found.body) > max_bytes:
            raise ProcessingFailed(FailureCode.TOO_MANY_BYTES, f"At most {max_bytes} bytes.")
        to.write_bytes(found.body)  # noqa: ASYNC240 - a fake may block
        return Downloaded(len(found.body), hashlib.sha256(found.body).hexdigest())

    async def upload(self, key: str, source: Path, *, content_type: str) -> None:
        await asyncio.sleep(0)
        body = source.read_bytes()  # noqa: ASYNC240 - a fake may block
        self.store(key, body, content_type)

    async def list_keys(self, prefix: str) -> Sequence[str]:
        await asyncio.sleep(0)
        return sorted(key for key in self.objects if key.startswith(prefix))

    async def delete(self, keys: Sequence[str]) -> None:
        await asyncio.sleep(0)
        for key in keys:
            self.objects.pop(key, None)

    # --- UrlSigner ---------------------------------------------------------------------------

    async def upload_url(
        self,
        key: str,
        *,
        content_type: str,
        expires_seconds: int,
        size: int | None,
        sha256: str | None,
    ) -> SignedUpload:
        headers = {"Content-Type": content_type}
        if sha256 is not None:
            headers |= {"x-amz-checksum-sha256": sha256, "If-None-Match": "*"}
        grant = Grant(key=key, expires_at=self._until(expires_seconds), headers=headers, size=size)
        return SignedUpload(self._link(grant), headers)

    async def download_url(self, key: str, *, expires_seconds: int) -> str:
        return self._link(Grant(key=key, expires_at=self._until(expires_seconds)))

    # --- what a client does ------------------------------------------------------------------

    def put(self, url: str, body: bytes, headers: Mapping[str, str]) -> None:
        """PUT to a link; raises Refused as the real store would answer."""
        grant = self._granted(url)
        if grant.headers is None or any(headers.get(k) != v for k, v in grant.headers.items()):
            raise Refused(403, "the headers are not the signed ones")
        if grant.size is not None and len(body) != grant.size:
            raise Refused(403, "the length is not the signed one")
        checksum = grant.headers.get("x-amz-checksum-sha256")
        if checksum is not None and base64.b64decode(checksum) != hashlib.sha256(body).digest():
            raise Refused(400, "the checksum is not that of the body")
        if "If-None-Match" in grant.headers and grant.key in self.objects:
            raise Refused(412, "written once already")
        self.store(grant.key, body, grant.headers["Content-Type"])

    def fetch(self, url: str) -> bytes:
        """GET a link."""
        grant = self._granted(url)
        if grant.headers is not None:
            raise Refused(403, "the link is for a PUT")
        if grant.key not in self.objects:
            raise Refused(404, "no such object")
        return self.objects[grant.key].body

    def store(self, key: str, body: bytes, content_type: str) -> None:
        """Each write has an ETag of its own, also if the bytes are the same."""
        self.objects[key] = MemoryObject(body, f"etag-{next(self._numbers)}", content_type)

    def _until(self, seconds: int) -> datetime:
        return self._clock() + timedelta(seconds=seconds)

    def _link(self, grant: Grant) -> str:
        url = f"memory://store/{quote(grant.key)}?grant={next(self._numbers)}"
        self._grants[url] = grant
        return url

    def _granted(self, url: str) -> Grant:
        grant = self._grants.get(url)
        if grant is None or grant.expires_at <= self._clock():
            raise Refused(403, "the link is false or too old")
        return grant
