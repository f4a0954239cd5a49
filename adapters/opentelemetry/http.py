"""The span and the measurement of each HTTP request.

A middleware of our own instead of the stock one, which fails a request whose query is not UTF-8,
writes the query (here: signatures of upload links) into spans, makes a span for each ASGI
message, and has the stable names behind an environment variable.
"""

from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any

from opentelemetry.trace import Span, SpanKind

from adapters.opentelemetry.instruments import HTTP_REQUESTS
from adapters.opentelemetry.metrics import Metrics
from adapters.opentelemetry.stopwatch import Stopwatch
from adapters.opentelemetry.tracing import Tracing, mark_failed
from application.messages import TRACEPARENT

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Any, Any, Any], Awaitable[None]]

UNMATCHED = "unmatched"
_PATH_MAX = 200
_SERVER_ERROR = 500
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"})


class ObservedHTTP:
    """Wraps a whole ASGI application, error answers included.

    The route template is what the router has left in the scope under `path_template`. Requests
    for `quiet` paths are measured but leave no span: probes and scrapes would be most of them.
    """

    def __init__(
        self,
        app: App,
        metrics: Metrics,
        tracing: Tracing,
        *,
        quiet: Iterable[str] = ("/health/live", "/health/ready", "/metrics"),
    ) -> None:
        self._app = app
        self._metrics = metrics
        self._tracing = tracing
        self._quiet = frozenset(quiet)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
        elif scope["path"] in self._quiet:
            await self._measured(scope, receive, send)
        else:
            await self._traced(scope, receive, send)

    async def _traced(self, scope: Scope, receive: Receive, send: Send) -> None:
        method = _method(scope)
        attributes = {
            "http.request.method": method,
            "url.path": scope["path"][:_PATH_MAX],
            "url.scheme": scope.get("scheme", "http"),
            "network.protocol.version": scope.get("http_version", "1.1"),
        }
        entry = self._tracing.entry(
            method, attributes, kind=SpanKind.SERVER, parent=_traceparent(scope)
        )
        with entry as span:
            status = await self._measured(scope, receive, send)
            _finish(span, method, _route(scope), status)

    async def _measured(self, scope: Scope, receive: Receive, send: Send) -> int:
        watch, status = Stopwatch(), _SERVER_ERROR

        async def note_status(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, note_status)
        finally:
            self._metrics.observe(
                HTTP_REQUESTS,
                watch.seconds,
                http_route=_route(scope),
                http_request_method=_method(scope),
                http_response_status_code=str(status),
            )
        return status


def _finish(span: Span, method: str, route: str, status: int) -> None:
    if not span.is_recording():
        return
    if route != UNMATCHED:
        span.update_name(f"{method} {route}")
        span.set_attribute("http.route", route)
    span.set_attribute("http.response.status_code", status)
    if status >= _SERVER_ERROR:
        mark_failed(span, str(status))


def _method(scope: Scope) -> str:
    method = scope.get("method", "")
    return method if method in _METHODS else "_OTHER"


def _route(scope: Scope) -> str:
    """Empty templates and missing ones are paths that no route of ours has."""
    return scope.get("path_template") or UNMATCHED


def _traceparent(scope: Scope) -> str | None:
    """The client's header if it sent exactly one; what is malformed is dropped further down."""
    name = TRACEPARENT.encode()
    values = [value for key, value in scope.get("headers", ()) if key.lower() == name]
    return values[0].decode("latin-1") if len(values) == 1 else None
