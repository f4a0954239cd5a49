"""A client wants to upload a photo: make the media, sign the link."""

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass

from application.ports import Database, Ids, UrlSigner
from domain.errors import InvalidUpload, UnsupportedContentType
from domain.media import Media

# Accepted types of originals, and the extension of their key.
ORIGINAL_EXTENSIONS: dict[str, str] = {
    "image/jpeg": "jpg",
    "image/png": "png",
    "image/webp": "webp",
    "image/gif": "gif",
    "image/avif": "avif",
    "image/tiff": "tif",
}
FILE_NAME_MAX = 255
SHA256_BYTES = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class UploadTerms:
    """What an upload may be: at most `max_bytes`, begun within `link_seconds`."""

    max_bytes: int
    link_seconds: int


@dataclass(frozen=True, slots=True, kw_only=True)
class UploadTicket:
    """All that a client needs for its PUT."""

    media: Media
    url: str
    headers: Mapping[str, str]
    max_bytes: int


class RequestUpload:
    """Creates a media in PENDING_UPLOAD and signs the link its photo is to be PUT to."""

    def __init__(
        self, *, database: Database, signer: UrlSigner, ids: Ids, terms: UploadTerms
    ) -> None:
        self._database = database
        self._signer = signer
        self._ids = ids
        self._terms = terms

    async def __call__(
        self,
        *,
        content_type: str,
        file_name: str,
        size_bytes: int | None = None,
        checksum_sha256: str | None = None,
    ) -> UploadTicket:
        """Raises InvalidUpload, naming the field. The checksum is base64, as S3 spells it."""
        self._check(content_type, file_name, size_bytes, checksum_sha256)
        async with self._database.begin() as uow:
            media = Media.request(
                media_id=self._ids.media_id(),
                file_name=file_name,
                content_type=content_type,
                extension=ORIGINAL_EXTENSIONS[content_type],
                now=uow.now,
                upload_seconds=self._terms.link_seconds,
                declared_bytes=size_bytes,
                declared_sha256=checksum_sha256,
            )
            await uow.media.add(media)
            await uow.commit()
        signed = await self._signer.upload_url(
            media.original_key,
            content_type=content_type,
            expires_seconds=self._terms.link_seconds,
            size=size_bytes,
            sha256=checksum_sha256,
        )
        return UploadTicket(
            media=media, url=signed.url, headers=signed.headers, max_bytes=self._terms.max_bytes
        )

    def _check(
        self, content_type: str, file_name: str, size: int | None, checksum: str | None
    ) -> None:
        if content_type not in ORIGINAL_EXTENSIONS:
            raise UnsupportedContentType(content_type, list(ORIGINAL_EXTENSIONS))
        if not 1 <= len(file_name) <= FILE_NAME_MAX or "\x00" in file_name:
            raise InvalidUpload("file_name", f"must be 1 to {FILE_NAME_MAX} characters, no NUL")
        if size is not None and not 1 <= size <= self._terms.max_bytes:
            raise InvalidUpload("size_bytes", f"must be 1 to {self._terms.max_bytes}")
        if checksum is not None and not _is_sha256(checksum):
            raise InvalidUpload("checksum_sha256", "must be the base64 of a SHA-256 digest")


def _is_sha256(value: str) -> bool:
    """Whether a store that writes down the digest it has computed would write just this."""
    try:
        digest = base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        return False
    return len(digest) == SHA256_BYTES and base64.b64encode(digest).decode() == value
