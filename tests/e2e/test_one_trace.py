"""What Jaeger shows of one photo that went through real processes, one of which was killed."""

from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from domain.lifecycle import State
from tests.e2e.asking import stored
from tests.e2e.photos import draw
from tests.e2e.sending import accepted, finished, uploaded
from tests.support.servers import Jaeger
from tests.support.services import Services
from tests.support.systems import SYSTEM_NAMES, System, running
from tests.support.traces import process_spans, spans_of, whole_trace
from tests.support.waiting import eventually

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module", params=SYSTEM_NAMES)
async def system(
    request: pytest.FixtureRequest,
    services: Services,
    jaeger: Jaeger,
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncGenerator[System]:
    folder = tmp_path_factory.mktemp(f"trace-{request.param}")
    settings = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": jaeger.otlp_endpoint,
        "OTEL_BSP_SCHEDULE_DELAY": "200",
    }
    async with (
        running(request.param, services, folder, settings=settings) as opened,
        opened.supervised(),
    ):
        yield opened


async def test_the_way_from_completion_to_ready_is_one_trace(
    system: System, jaeger: Jaeger
) -> None:
    document = await finished(system, draw(600))
    spans = await whole_trace(jaeger, document["trace_id"], attempt=1)
    names = {span["operationName"]: span for span in spans}
    request = next(span for span in spans if span["parent"] is None)
    assert request["tags"]["url.path"] == "/complete-upload"
    assert names["process media.process"]["parent"] == request["spanID"]
    assert {"download", "render", "settle media.process"} <= set(names)
    assert names["process media.process"]["tags"]["media.id"] == document["media_id"]


async def test_the_take_over_of_a_killed_worker_is_part_of_the_same_trace(
    system: System, jaeger: Jaeger
) -> None:
    (worker,) = system.workers
    await worker.ready(supervised=True)
    worker.hold_decoding()
    media_id = await accepted(system, draw(601))
    await eventually(
        lambda: stored(system, media_id), until=lambda media: media.state is State.PROCESSING
    )
    trace_id = (await system.client().media(media_id))["trace_id"]
    # The request's own span has left the process that is about to die.
    await whole_trace(jaeger, trace_id, attempt=0)
    worker.kill()
    document = await system.client().finished(media_id)
    outcomes = [attempt["outcome"] for attempt in document["attempts"]]
    assert outcomes == ["lease-lost", "succeeded"]
    spans = await whole_trace(jaeger, document["trace_id"], attempt=2)
    roots = [span for span in spans if span["parent"] is None]
    assert [root["tags"]["url.path"] for root in roots] == ["/complete-upload"]
    (winner,) = process_spans(spans, 2)
    assert winner["parent"] == roots[0]["spanID"]


@pytest.mark.parametrize("system", ["production"], indirect=True)
async def test_a_relay_that_is_killed_and_started_again_does_not_break_the_trace(
    system: System, jaeger: Jaeger
) -> None:
    await system.whole()
    ticket = await uploaded(system, draw(602))
    system.dispatcher.kill()
    await system.client().complete(ticket)
    document = await system.client().finished(ticket["media_id"])
    assert document["status"] == "READY", document
    spans = await whole_trace(jaeger, document["trace_id"], attempt=1)
    (request,) = (span for span in spans if span["parent"] is None)
    (process,) = process_spans(spans, 1)
    assert process["parent"] == request["spanID"]


async def test_spans_that_still_wait_are_sent_at_the_end_of_a_process(
    services: Services, jaeger: Jaeger, tmp_path: Path
) -> None:
    settings = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": jaeger.otlp_endpoint,
        "OTEL_BSP_SCHEDULE_DELAY": "600000",
    }
    async with running("embedded", services, tmp_path, settings=settings) as system:
        document = await finished(system, draw(603))
        assert spans_of(jaeger, document["trace_id"]) == []
        assert await system.api.stop() == 0
    spans = await whole_trace(jaeger, document["trace_id"], attempt=1)
    assert {"POST /complete-upload", "process media.process", "settle media.process"} <= {
        span["operationName"] for span in spans
    }
