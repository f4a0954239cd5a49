"""A photo's way, as Jaeger tells it when it is asked."""

from collections.abc import AsyncGenerator, Generator
from pathlib import Path

import pytest
from opentelemetry.trace import SpanKind

from adapters.opentelemetry import Telemetry, current_trace_id
from adapters.opentelemetry.libraries import instrument_libraries, restore_libraries
from adapters.postgres.database import PostgresDatabase
from adapters.postgres.migrations import migrate
from tests.support.pipeline import Pipeline
from tests.support.servers import Jaeger
from tests.support.sets import fresh_database
from tests.support.telemetry import WatchedPipeline
from tests.support.traces import Span, spans_of
from tests.support.waiting import eventually

pytestmark = pytest.mark.anyio


@pytest.fixture
async def database(postgres_url: str) -> AsyncGenerator[PostgresDatabase]:
    async with fresh_database(postgres_url) as url:
        await migrate(url)
        database = await PostgresDatabase.connect(url, pool_size=4)
        yield database
        await database.close()


@pytest.fixture
def telemetry(jaeger: Jaeger) -> Generator[Telemetry]:
    telemetry = Telemetry.start("pipeline-test", "1", otlp_endpoint=jaeger.otlp_endpoint)
    instrument_libraries(telemetry.library_tracers)
    yield telemetry
    restore_libraries()
    telemetry.shutdown()


def named_spans_of(jaeger: Jaeger, trace_id: str) -> list[Span]:
    """The spans of a trace, each with its parent's name for its id."""
    spans = spans_of(jaeger, trace_id)
    names = {span["spanID"]: span["operationName"] for span in spans}
    return [{**span, "parent": names.get(span["parent"])} for span in spans]


async def test_one_trace_leads_from_the_request_over_a_retry_to_ready(
    telemetry: Telemetry, database: PostgresDatabase, jaeger: Jaeger, tmp_path: Path
) -> None:
    pipeline = WatchedPipeline(Pipeline(root=tmp_path), telemetry, database)
    media = await pipeline.uploaded(b"crash")
    with telemetry.tracing.entry("POST", {}, kind=SpanKind.SERVER, parent=None):
        await pipeline.complete(media)
        trace_id = current_trace_id()
    assert trace_id is not None
    assert await pipeline.deliver() == "retrying"
    pipeline.pipeline.ids.chosen_fraction = 0.0

    async def again() -> str | None:
        async with database.begin() as uow:
            current = await uow.media.get(media.id)
            assert current is not None
            assert current.next_attempt_at is not None
            due = current.next_attempt_at <= uow.now
        return await pipeline.deliver("worker-2") if due else None

    assert await eventually(again) == "retrying"
    assert telemetry.shutdown() is True

    spans = named_spans_of(jaeger, trace_id)
    tree = {(span["operationName"], span["parent"]) for span in spans}
    assert {
        ("POST", None),
        ("complete_upload", "POST"),
        ("commit", "complete_upload"),
        ("outbox append", "complete_upload"),
        ("WITH", "outbox append"),
        ("process media.process", "POST"),
        ("commit", "process media.process"),
        ("download", "process media.process"),
        ("render", "process media.process"),
        ("settle media.process", "process media.process"),
    } <= tree
    assert not {name for name, _ in tree if name.startswith("send")}
    assert not {name for name, _ in tree if name in {"BEGIN", "COMMIT", "ROLLBACK"}}
    attempts = [span for span in spans if span["operationName"] == "process media.process"]
    assert sorted(span["tags"]["media.attempt"] for span in attempts) == [1, 2]
    assert {span["tags"]["error.type"] for span in attempts} == {"internal-error"}
    second = next(span for span in attempts if span["tags"]["media.attempt"] == 2)
    linked = [r["spanID"] for r in second["references"] if r["refType"] == "FOLLOWS_FROM"]
    claims = [s["spanID"] for s in spans if s["parent"] == "process media.process"]
    assert linked
    assert set(linked) <= set(claims)
