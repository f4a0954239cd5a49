"""Litestar with everything switched off that this product does otherwise or not at all."""

from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any

from litestar import Litestar
from litestar.config.cors import CORSConfig
from litestar.handlers import HTTPRouteHandler
from litestar.types import ASGIApp, Method, Receive, Scope, Send

from entrypoints.api.problem import ForeignOrigin, answer_for, exception_handler
from entrypoints.api.requests import BODY_BYTES_MAX

Handler = Callable[..., Awaitable[ASGIApp]]
READ: tuple[Method, ...] = ("GET", "HEAD")
# What a script of another origin may read besides the body.
EXPOSED_HEADERS = ["Location", "Retry-After", "ETag", "Allow"]


def route(path: str, method: Method | Sequence[Method], handler: Handler) -> HTTPRouteHandler:
    """A handler that returns a ready answer. It is left out of the generated schema: the
    contract's own document describes it.
    """
    declare = HTTPRouteHandler(path, http_method=method, include_in_schema=False)
    return declare(handler)


def build(
    handlers: Sequence[HTTPRouteHandler],
    *,
    open_while_serving: AbstractAsyncContextManager[object],
    current_traceparent: Callable[[], str | None],
    cors_origins: Sequence[str] = (),
) -> Litestar:
    """No debug pages, no logging set-up, no generated schema; every error is a problem."""

    def lifespan(_: Litestar) -> AbstractAsyncContextManager[Any]:
        return open_while_serving

    cors = _cors(cors_origins)
    app = Litestar(
        route_handlers=list(handlers),
        lifespan=[lifespan],
        exception_handlers={Exception: exception_handler(current_traceparent)},
        cors_config=cors,
        request_max_body_size=BODY_BYTES_MAX,
        openapi_config=None,
        logging_config=None,
        debug=False,
        pdb_on_exception=False,
    )
    if cors is not None:
        app.asgi_handler = _refuse_foreign(app.asgi_handler, cors)
    return app


def _cors(origins: Sequence[str]) -> CORSConfig | None:
    if not origins:
        return None
    return CORSConfig(allow_origins=list(origins), expose_headers=EXPOSED_HEADERS)


def _refuse_foreign(app: ASGIApp, cors: CORSConfig) -> ASGIApp:
    """Answer the preflight of an origin that may not call; the framework would in plain text."""

    async def handle(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["method"] == "OPTIONS":
            origin = dict(scope["headers"]).get(b"origin", b"").decode("latin-1")
            if origin and not cors.is_origin_allowed(origin):
                refusal = answer_for(ForeignOrigin(), path=scope["path"], traceparent=None)
                await refusal(scope, receive, send)
                return
        await app(scope, receive, send)

    return handle
