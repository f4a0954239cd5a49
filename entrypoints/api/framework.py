"""Litestar with everything switched off that this product does otherwise or not at all."""

from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any

from litestar import Litestar
from litestar.config.cors import CORSConfig
from litestar.handlers import HTTPRouteHandler
from litestar.types import ASGIApp, Method

from entrypoints.api.problem import exception_handler
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

    return Litestar(
        route_handlers=list(handlers),
        lifespan=[lifespan],
        exception_handlers={Exception: exception_handler(current_traceparent)},
        cors_config=_cors(cors_origins),
        request_max_body_size=BODY_BYTES_MAX,
        openapi_config=None,
        logging_config=None,
        debug=False,
        pdb_on_exception=False,
    )


def _cors(origins: Sequence[str]) -> CORSConfig | None:
    if not origins:
        return None
    return CORSConfig(allow_origins=list(origins), expose_headers=EXPOSED_HEADERS)
