"""Spans and measurements of requests, whatever a client sends."""

import asyncio
from collections.abc import Generator

import pytest
from opentelemetry.trace import SpanKind, StatusCode

from adapters.opentelemetry import ObservedHTTP, current_trace_id
from adapters.opentelemetry.http import App, Message, Receive, Scope, Send
from adapters.opentelemetry.instruments import HTTP_REQUESTS
from tests.support.builders import TRACEPARENT
from tests.support.telemetry import Watched, identity, watching

pytestmark = pytest.mark.anyio

ROUTE = "/media/{media_id}"


@pytest.fixture
def watched() -> Generator[Watched]:
    with watching() as watched:
        yield watched


class Router:
    """What a framework does, in small: leaves the template in the scope, answers `status`."""

    def __init__(self, status: int = 200) -> None:
        self.status = status
        self.trace_ids: list[str | None] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        del receive
        self.trace_ids.append(current_trace_id())
        if scope["path"].startswith("/media/"):
            scope["path_template"] = ROUTE
        if scope["path"] == "/media/crash":
            raise RuntimeError("secret text")
        await send({"type": "http.response.start", "status": self.status, "headers": []})
        await send({"type": "http.response.body", "body": b"", "more_body": False})


def scope(
    path: str, *, method: str = "GET", query: bytes = b"", traceparent: bytes | None = None
) -> Scope:
    headers = [] if traceparent is None else [(b"traceparent", traceparent)]
    return {
        "type": "http",
        "path": path,
        "method": method,
        "query_string": query,
        "headers": headers,
        "scheme": "http",
        "http_version": "1.1",
    }


async def call(app: App, scope: Scope) -> list[Message]:
    sent: list[Message] = []

    async def receive() -> Message:
        await asyncio.sleep(0)
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Message) -> None:
        await asyncio.sleep(0)
        sent.append(message)

    await app(scope, receive, send)
    return sent


def observed(app: App, watched: Watched) -> ObservedHTTP:
    return ObservedHTTP(app, watched.metrics, watched.tracing)


async def test_a_request_is_named_by_its_route(watched: Watched) -> None:
    await call(observed(Router(), watched), scope("/media/01ABC"))

    span = watched.spans()["GET /media/{media_id}"]
    assert span.kind is SpanKind.SERVER
    assert span.parent is None
    assert span.attributes is not None
    assert span.attributes["http.route"] == ROUTE
    assert span.attributes["http.request.method"] == "GET"
    assert span.attributes["http.response.status_code"] == 200
    labels = {"http_route": ROUTE, "http_request_method": "GET"}
    assert watched.value(HTTP_REQUESTS, **labels, http_response_status_code="200") == 1


async def test_the_clients_own_trace_goes_on(watched: Watched) -> None:
    router = Router()
    await call(observed(router, watched), scope("/media/1", traceparent=TRACEPARENT.encode()))

    span = watched.spans()["GET /media/{media_id}"]
    assert span.parent is not None
    assert f"{span.parent.span_id:016x}" == TRACEPARENT.split("-")[2]
    assert router.trace_ids == [TRACEPARENT.split("-")[1]]


@pytest.mark.parametrize(
    "header", [b"", b"nonsense", b"\xff\xfe", b"00-" + b"a" * 1_000_000, TRACEPARENT.encode()[:-1]]
)
async def test_a_bad_traceparent_is_ignored(watched: Watched, header: bytes) -> None:
    router = Router()
    sent = await call(observed(router, watched), scope("/media/1", traceparent=header))

    assert sent[0]["status"] == 200
    assert watched.spans()["GET /media/{media_id}"].parent is None
    assert router.trace_ids[0]


async def test_two_traceparents_are_none(watched: Watched) -> None:
    request = scope("/media/1", traceparent=TRACEPARENT.encode())
    request["headers"] *= 2
    await call(observed(Router(), watched), request)
    assert watched.spans()["GET /media/{media_id}"].parent is None


async def test_paths_of_nobody_share_one_label(watched: Watched) -> None:
    for number in range(30):
        await call(observed(Router(404), watched), scope(f"/scan/{number}", method="HACK"))

    labels = {"http_route": "unmatched", "http_response_status_code": "404"}
    assert watched.value(HTTP_REQUESTS, **labels, http_request_method="other") == 30
    assert "/scan" not in watched.page()
    assert set(watched.spans()) == {"_OTHER"}


async def test_a_query_is_in_no_span(watched: Watched) -> None:
    request = scope("/media/1", query=b"signature=topsecret&x=\xff\xfe")
    await call(observed(Router(), watched), request)
    assert "topsecret" not in watched.exporter.get_finished_spans()[0].to_json()


async def test_a_crash_is_a_500_and_its_text_in_no_span(watched: Watched) -> None:
    with pytest.raises(RuntimeError):
        await call(observed(Router(), watched), scope("/media/crash"))

    span = watched.exporter.get_finished_spans()[0]
    assert span.status.status_code is StatusCode.ERROR
    assert (span.attributes or {})["error.type"] == "RuntimeError"
    assert "secret text" not in span.to_json()
    assert watched.value(HTTP_REQUESTS, http_response_status_code="500") == 1


async def test_a_server_error_is_an_error_and_a_clients_is_not(watched: Watched) -> None:
    await call(observed(Router(503), watched), scope("/media/1"))
    await call(observed(Router(404), watched), scope("/media/2"))

    first, second = watched.exporter.get_finished_spans()
    assert (first.attributes or {})["error.type"] == "503"
    assert second.status.status_code is StatusCode.UNSET


async def test_probes_and_scrapes_are_measured_without_a_span(watched: Watched) -> None:
    await call(observed(Router(), watched), scope("/health/live"))
    assert watched.exporter.get_finished_spans() == ()
    assert watched.value(HTTP_REQUESTS) == 1


async def test_overlapping_requests_keep_their_own_traces(watched: Watched) -> None:
    router = Router()
    app = observed(router, watched)
    await asyncio.gather(*(call(app, scope("/media/1")) for _ in range(20)))

    assert len(set(router.trace_ids)) == 20
    traces = {identity(span)[0] for span in watched.exporter.get_finished_spans()}
    assert {f"{trace:032x}" for trace in traces} == set(router.trace_ids)


async def test_other_protocols_pass_untouched(watched: Watched) -> None:
    seen: list[str] = []

    async def lifespan(scope: Scope, receive: Receive, send: Send) -> None:
        del receive, send
        await asyncio.sleep(0)
        seen.append(scope["type"])

    await call(observed(lifespan, watched), {"type": "lifespan"})
    assert seen == ["lifespan"]
    assert watched.value(HTTP_REQUESTS) == 0
