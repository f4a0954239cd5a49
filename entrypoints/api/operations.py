"""Metrics and probes: part of the API's port, and the whole of the worker's and dispatcher's.

GET /metrics        Prometheus text
GET /health/live    200 while the process turns; asks nobody
GET /health/ready   200, or 503 with a list of what is not ready
"""

from collections.abc import Callable, Sequence

import msgspec
from litestar import Litestar
from litestar.handlers import HTTPRouteHandler
from litestar.types import ASGIApp

from application.ports import Dependency
from entrypoints.api.answers import NO_STORE, Answer
from entrypoints.api.framework import READ, build, route
from entrypoints.api.readiness import Readiness

Metrics = Callable[[], tuple[bytes, str]]

_encode = msgspec.json.Encoder().encode


class Live(msgspec.Struct):
    status: str = "live"


class Ready(msgspec.Struct):
    """`notes` are for the operator, such as a protection that this machine cannot give."""

    notes: list[str]
    status: str = "ready"


class Operations:
    """The three pages. `metrics` gives the text and its content type."""

    def __init__(self, readiness: Readiness, metrics: Metrics) -> None:
        self._readiness = readiness
        self._render = metrics

    def routes(self) -> list[HTTPRouteHandler]:
        return [
            route("/metrics", READ, self.metrics),
            route("/health/live", READ, self.live),
            route("/health/ready", READ, self.ready),
        ]

    async def metrics(self) -> ASGIApp:
        text, content_type = self._render()
        return Answer(200, text, content_type, NO_STORE)

    async def live(self) -> ASGIApp:
        return Answer(200, _encode(Live()), headers=NO_STORE)

    async def ready(self) -> ASGIApp:
        problems = self._readiness.problems
        if problems:
            return Answer(503, _encode(problems), headers={**NO_STORE, "Retry-After": "2"})
        return Answer(200, _encode(Ready(list(self._readiness.notes))), headers=NO_STORE)


def create_operations_app(
    *,
    dependencies: Sequence[Dependency],
    metrics: Metrics,
    notes: Sequence[str] = (),
    current_traceparent: Callable[[], str | None] = lambda: None,
) -> Litestar:
    """The pages as an application for a port of their own; the server must run its lifespan."""
    readiness = Readiness(dependencies, notes=notes)
    return build(
        Operations(readiness, metrics).routes(),
        open_while_serving=readiness,
        current_traceparent=current_traceparent,
    )
