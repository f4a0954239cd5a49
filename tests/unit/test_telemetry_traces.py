"""One trace from the request to READY, whatever happens in between."""

from collections.abc import Generator
from pathlib import Path

import pytest
from opentelemetry.trace import SpanKind, StatusCode

from adapters.opentelemetry.tracing import claim_span_id, current_trace_id, remote_context
from application.messages import trace_id_of
from application.ports import Queue
from domain.errors import UnroutableMessage
from tests.support.builders import TRACEPARENT, ulid
from tests.support.pipeline import Pipeline
from tests.support.telemetry import Watched, WatchedPipeline, identity, watching

pytestmark = pytest.mark.anyio


@pytest.fixture
def watched() -> Generator[Watched]:
    with watching() as watched:
        yield watched


@pytest.fixture
def pipeline(tmp_path: Path, watched: Watched) -> WatchedPipeline:
    return WatchedPipeline(Pipeline(root=tmp_path), watched)


async def completed(pipeline: WatchedPipeline, watched: Watched, body: bytes = b"photo") -> str:
    """A completed upload inside a request's span; the request's trace id."""
    media = await pipeline.uploaded(body)
    entry = watched.tracing.entry("POST", {}, kind=SpanKind.SERVER, parent=None)
    with entry:
        await pipeline.complete(media)
        trace_id = current_trace_id()
    assert trace_id is not None
    return trace_id


async def test_the_workers_spans_are_children_of_the_request(
    pipeline: WatchedPipeline, watched: Watched
) -> None:
    trace_id = await completed(pipeline, watched)

    assert await pipeline.deliver() == "ready"

    spans = watched.spans()
    request, process = spans["POST"], spans["process media.process"]
    assert process.parent is not None
    assert (process.parent.trace_id, process.parent.span_id) == identity(request)
    assert f"{process.parent.trace_id:032x}" == trace_id
    assert process.kind is SpanKind.CONSUMER
    assert process.attributes is not None
    assert process.attributes["messaging.operation.type"] == "process"
    assert process.attributes["media.attempt"] == 1
    for name in ("download", "render", "upload", "settle media.process"):
        parent = spans[name].parent
        assert parent is not None, name
        assert (parent.trace_id, parent.span_id) == identity(process), name
    uploads = [s for s in watched.exporter.get_finished_spans() if s.name == "upload"]
    assert {str((s.attributes or {})["variant.name"]) for s in uploads} == {
        *("large", "medium", "small", "thumb")
    }


async def test_the_request_shows_use_case_commit_and_outbox(
    pipeline: WatchedPipeline, watched: Watched
) -> None:
    await completed(pipeline, watched)

    spans = watched.spans()
    use_case = spans["complete_upload"]
    assert use_case.parent is not None
    assert (use_case.parent.trace_id, use_case.parent.span_id) == identity(spans["POST"])
    for name in ("head", "outbox append", "commit"):
        parent = spans[name].parent
        assert parent is not None, name
        assert (parent.trace_id, parent.span_id) == identity(use_case), name
    assert (spans["commit"].attributes or {})["db.system.name"] == "memory"


async def test_the_relay_sends_in_a_trace_of_its_own_and_links_to_the_request(
    pipeline: WatchedPipeline, watched: Watched
) -> None:
    trace_id = await completed(pipeline, watched)
    await pipeline.relay_outbox()

    send = watched.spans()["send media.process"]
    assert send.parent is None
    assert f"{identity(send)[0]:032x}" != trace_id
    assert [f"{link.context.trace_id:032x}" for link in send.links] == [trace_id]
    assert send.kind is SpanKind.PRODUCER
    message = pipeline.pipeline.broker.queues[Queue.PROCESS][0]
    assert trace_id_of(message.headers["traceparent"]) == trace_id


async def test_a_returned_message_marks_the_send_span(
    pipeline: WatchedPipeline, watched: Watched
) -> None:
    await completed(pipeline, watched)
    pipeline.pipeline.broker.remove_queues()

    with pytest.raises(UnroutableMessage):
        await pipeline.relay_outbox()

    send = watched.spans()["send media.process"]
    assert send.status.status_code is StatusCode.ERROR
    assert (send.attributes or {})["error.type"] == "UnroutableMessage"


async def test_a_retry_is_another_process_span_of_the_trace_linked_to_the_former(
    pipeline: WatchedPipeline, watched: Watched
) -> None:
    trace_id = await completed(pipeline, watched, b"crash")
    assert await pipeline.deliver() == "retrying"
    first = watched.spans()["process media.process"]
    claim = next(
        span
        for span in watched.exporter.get_finished_spans()
        if span.name == "commit" and span.parent and span.parent.span_id == identity(first)[1]
    )
    pipeline.pipeline.clock.advance(3600)

    assert await pipeline.deliver("worker-2") == "retrying"

    second = watched.spans()["process media.process"]
    assert f"{identity(second)[0]:032x}" == trace_id
    assert identity(second) != identity(first)
    assert (second.attributes or {})["media.attempt"] == 2
    assert (second.attributes or {})["error.type"] == "internal-error"
    assert [(link.context.trace_id, link.context.span_id) for link in second.links] == [
        identity(claim)
    ]


async def test_a_failure_code_becomes_the_error_type(
    pipeline: WatchedPipeline, watched: Watched
) -> None:
    await completed(pipeline, watched, b"fail:image-truncated")

    assert await pipeline.deliver() == "failed"

    spans = watched.spans()
    for name in ("process media.process", "render"):
        assert (spans[name].attributes or {})["error.type"] == "image-truncated", name
        assert spans[name].status.status_code is StatusCode.ERROR, name


async def test_no_span_holds_the_text_of_an_error(
    pipeline: WatchedPipeline, watched: Watched
) -> None:
    await completed(pipeline, watched, b"crash")
    await pipeline.deliver()

    text = "".join(span.to_json() for span in watched.exporter.get_finished_spans())
    assert "as told" not in text


async def test_work_outside_a_trace_makes_no_spans(
    pipeline: WatchedPipeline, watched: Watched
) -> None:
    await pipeline.uploaded()
    await pipeline.recover_leases()

    assert watched.exporter.get_finished_spans() == ()


async def test_a_request_that_is_not_sampled_costs_no_spans_and_keeps_its_trace(
    pipeline: WatchedPipeline, watched: Watched
) -> None:
    unsampled = f"{TRACEPARENT[:-2]}00"
    media = await pipeline.uploaded()
    with watched.tracing.entry("POST", {}, kind=SpanKind.SERVER, parent=unsampled):
        done = await pipeline.complete(media)
    await pipeline.deliver()

    assert trace_id_of(done.traceparent) == trace_id_of(TRACEPARENT)
    assert {span.name for span in watched.exporter.get_finished_spans()} == {"send media.process"}


@pytest.mark.parametrize(
    "header",
    [
        *(None, "", "garbage", "00-" + "0" * 32 + "-b7ad6b7169203331-01", TRACEPARENT.upper()),
        *("00-" + "f" * 1_000_000, TRACEPARENT + "\n", f"ff{TRACEPARENT[2:]}", "\x00" * 55),
    ],
)
async def test_a_bad_traceparent_starts_a_new_trace_and_hurts_nobody(
    watched: Watched, header: str | None
) -> None:
    assert remote_context(header) is None
    assert trace_id_of(header) is None
    with watched.tracing.entry(
        "process", {}, kind=SpanKind.CONSUMER, parent=header, link=header
    ) as span:
        assert span.get_span_context().is_valid
    assert watched.spans()["process"].parent is None


async def test_the_claims_id_is_the_same_in_every_process() -> None:
    trace_id = int("0af7651916cd43dd8448eb211c80319c", 16)
    ids = {claim_span_id(trace_id, ulid(n), token) for n in range(20) for token in range(20)}
    assert len(ids) == 400
    assert claim_span_id(trace_id, ulid(1), 1) == claim_span_id(trace_id, ulid(1), 1)
    assert all(0 < span_id < 2**64 for span_id in ids)
