"""The calls of the contract: decode, call the use case, encode."""

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

import msgspec
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath
from litestar.types import ASGIApp

from application.complete_upload import Completion
from application.ports import UrlSigner
from application.request_upload import UploadTicket
from domain.errors import MediaNotFound
from domain.media import Media
from domain.parts import Variant
from entrypoints.api.answers import NO_STORE, Answer
from entrypoints.api.documents import media_document, upload_ticket
from entrypoints.api.framework import READ, route
from entrypoints.api.requests import AnyRequest, CompletionRequest, UploadRequest, read_json

POLL_SECONDS_MAX = 30
_MEDIA_ID = re.compile(r"[0-9A-HJKMNP-TV-Z]{26}")

_encode = msgspec.json.Encoder().encode
_upload_request = msgspec.json.Decoder(UploadRequest)
_completion_request = msgspec.json.Decoder(CompletionRequest)


class RequestsUpload(Protocol):
    """The use case RequestUpload, or a decorator around it. So with the next two."""

    async def __call__(
        self,
        *,
        content_type: str,
        file_name: str,
        size_bytes: int | None = None,
        checksum_sha256: str | None = None,
    ) -> UploadTicket: ...


class CompletesUpload(Protocol):
    async def __call__(
        self, *, media_id: str, original_key: str, traceparent: str | None
    ) -> Completion: ...


class GetsMedia(Protocol):
    async def __call__(self, media_id: str) -> Media: ...
    async def variant(self, media_id: str, name: str) -> Variant: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Links:
    """Download links that work for `seconds`. `clock` is that of the machine that signs."""

    signer: UrlSigner
    seconds: int
    clock: Callable[[], datetime]

    async def sign(self, variant: Variant) -> str:
        return await self.signer.download_url(variant.key, expires_seconds=self.seconds)


class MediaCalls:
    """The handlers. A malformed id is a media that does not exist: nobody is asked for it."""

    def __init__(
        self,
        *,
        request_upload: RequestsUpload,
        complete_upload: CompletesUpload,
        get_media: GetsMedia,
        links: Links,
        attempts_max: int,
        current_traceparent: Callable[[], str | None],
    ) -> None:
        self._request_upload = request_upload
        self._complete_upload = complete_upload
        self._get_media = get_media
        self._links = links
        self._attempts_max = attempts_max
        self._current_traceparent = current_traceparent

    def routes(self) -> list[HTTPRouteHandler]:
        return [
            route("/upload-url", "POST", self.request_upload),
            route("/complete-upload", "POST", self.complete_upload),
            route("/media/{media_id:str}", READ, self.get_media),
            route("/media/{media_id:str}/variants/{name:str}", READ, self.get_variant),
        ]

    async def request_upload(self, request: AnyRequest) -> ASGIApp:
        wanted = await read_json(request, _upload_request)
        ticket = await self._request_upload(
            content_type=wanted.content_type,
            file_name=wanted.file_name,
            size_bytes=wanted.size_bytes,
            checksum_sha256=wanted.checksum_sha256,
        )
        headers = {**NO_STORE, "Location": _location(ticket.media)}
        return Answer(201, _encode(upload_ticket(ticket)), headers=headers)

    async def complete_upload(self, request: AnyRequest) -> ASGIApp:
        upload = await read_json(request, _completion_request)
        completion = await self._complete_upload(
            media_id=_well_formed(upload.media_id),
            original_key=upload.original_key,
            traceparent=self._current_traceparent(),
        )
        media = completion.media
        headers = {"Location": _location(media)}
        return await self._answer(media, 200 if media.is_terminal else 202, headers)

    async def get_media(self, media_id: FromPath[str]) -> ASGIApp:
        return await self._answer(await self._get_media(_well_formed(media_id)), 200, {})

    async def get_variant(self, media_id: FromPath[str], name: FromPath[str]) -> ASGIApp:
        variant = await self._get_media.variant(_well_formed(media_id), name)
        # Whoever follows a kept answer still has the other half of the link's life.
        keep = f"private, max-age={self._links.seconds // 2}"
        headers = {"Location": await self._links.sign(variant), "Cache-Control": keep}
        return Answer(302, headers=headers)

    async def _answer(self, media: Media, status: int, headers: Mapping[str, str]) -> Answer:
        now = self._links.clock()
        document = media_document(
            media,
            urls={variant.name: await self._links.sign(variant) for variant in media.variants},
            expires_at=now + timedelta(seconds=self._links.seconds),
            attempts_max=self._attempts_max,
        )
        return Answer(
            status, _encode(document), headers={**NO_STORE, **headers, **_patience(media, now)}
        )


def _patience(media: Media, now: datetime) -> Mapping[str, str]:
    """When to ask again: in a second, or when the next attempt is due."""
    if media.is_terminal:
        return {}
    wait = (media.next_attempt_at - now).total_seconds() if media.next_attempt_at else 0.0
    return {"Retry-After": str(min(max(math.ceil(wait), 1), POLL_SECONDS_MAX))}


def _location(media: Media) -> str:
    return f"/media/{media.id}"


def _well_formed(media_id: str) -> str:
    if not _MEDIA_ID.fullmatch(media_id):
        raise MediaNotFound(media_id[:64])
    return media_id
