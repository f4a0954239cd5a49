"""The API as one application."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from litestar import Litestar
from litestar.handlers import HTTPRouteHandler
from litestar.types import ASGIApp

from adapters.filesystem import FilesystemStore
from application.ports import Dependency, UrlSigner
from entrypoints.api.answers import Answer
from entrypoints.api.framework import READ, build, route
from entrypoints.api.media_calls import (
    CompletesUpload,
    GetsMedia,
    Links,
    MediaCalls,
    RequestsUpload,
)
from entrypoints.api.object_calls import ObjectCalls
from entrypoints.api.openapi import document
from entrypoints.api.operations import Metrics, Operations
from entrypoints.api.readiness import Readiness


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiParts:
    """What the API is made of.

    `clock` is that of this machine: it says when a link that is signed now expires. `middleware`
    wraps the whole application, its error answers included. `cors_origins` are the origins whose
    scripts may call; none switches CORS off. `objects` is the store whose links end at this API.
    """

    request_upload: RequestsUpload
    complete_upload: CompletesUpload
    get_media: GetsMedia
    signer: UrlSigner
    attempts_max: int
    download_seconds: int
    clock: Callable[[], datetime]
    dependencies: Sequence[Dependency]
    metrics: Metrics
    current_traceparent: Callable[[], str | None] = lambda: None
    cors_origins: Sequence[str] = ("*",)
    notes: Sequence[str] = ()
    objects: FilesystemStore | None = None
    middleware: Callable[[ASGIApp], ASGIApp] | None = None


def create_app(parts: ApiParts) -> Litestar:
    """The application; the server must run its lifespan, or it never becomes ready."""
    readiness = Readiness(parts.dependencies, notes=parts.notes)
    media = MediaCalls(
        request_upload=parts.request_upload,
        complete_upload=parts.complete_upload,
        get_media=parts.get_media,
        links=Links(signer=parts.signer, seconds=parts.download_seconds, clock=parts.clock),
        attempts_max=parts.attempts_max,
        current_traceparent=parts.current_traceparent,
    )
    objects = ObjectCalls(parts.objects).routes() if parts.objects else []
    pages = Operations(readiness, parts.metrics).routes()
    app = build(
        [*media.routes(), *objects, *pages, _contract(parts)],
        open_while_serving=readiness,
        current_traceparent=parts.current_traceparent,
        cors_origins=parts.cors_origins,
    )
    if parts.middleware is not None:
        app.asgi_handler = parts.middleware(app.asgi_handler)
    return app


def _contract(parts: ApiParts) -> HTTPRouteHandler:
    """The OpenAPI document, encoded once."""
    answer = Answer(200, document(with_objects=parts.objects is not None))

    async def contract() -> ASGIApp:
        return answer

    return route("/openapi.json", READ, contract)
