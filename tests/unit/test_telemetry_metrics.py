"""What moves on the metrics page, and that the page is clean."""

import shutil
import subprocess
from collections.abc import Generator, Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from adapters.memory.broker import Message
from adapters.opentelemetry import BacklogPoller, ObservedDependency
from adapters.opentelemetry import instruments as table
from adapters.opentelemetry.instruments import BUILD_INFO, TABLE, Kind, Role
from adapters.opentelemetry.providers import Telemetry
from application.ports import Dependency, Overview, Queue
from application.process_media import Processed
from application.values import Backlog, Waiting
from domain.errors import DatabaseUnavailable, StoreUnavailable, UnroutableMessage, VersionConflict
from domain.failure import FailureCode
from domain.lifecycle import State
from domain.media import Media
from tests.support import builders
from tests.support.pipeline import Pipeline
from tests.support.telemetry import Watched, WatchedPipeline, watching

pytestmark = pytest.mark.anyio


@pytest.fixture
def watched() -> Generator[Watched]:
    with watching() as watched:
        yield watched


@pytest.fixture
def pipeline(tmp_path: Path, watched: Watched) -> WatchedPipeline:
    return WatchedPipeline(Pipeline(root=tmp_path), watched)


# --- the page --------------------------------------------------------------------------------


def fill(watched: Watched) -> None:
    """A value in every instrument."""
    for row in TABLE:
        labels = {
            name.replace(".", "_"): values if isinstance(values, str) else values[0]
            for name, values in row.labels.items()
        }
        if row.kind is Kind.OBSERVED:
            if row is not BUILD_INFO:
                watched.metrics.watch(row, lambda labels=labels: [(labels, 1.0)])
        elif row.kind is Kind.COUNTER:
            watched.metrics.add(row, 1, **labels)
        else:
            watched.metrics.observe(row, 1, **labels)


def test_promtool_finds_nothing_wrong_with_the_page(watched: Watched) -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not installed")
    fill(watched)
    page = watched.telemetry.render_metrics()[0]
    command = [promtool, "check", "metrics"]
    check = subprocess.run(command, input=page, capture_output=True, check=False)
    assert (check.returncode, check.stdout, check.stderr) == (0, b"", b"")


def test_every_instrument_has_the_name_the_table_computes(watched: Watched) -> None:
    fill(watched)
    types = dict(
        line.split()[2:4] for line in watched.page().splitlines() if line.startswith("# TYPE")
    )
    kinds = {Kind.COUNTER: "counter", Kind.HISTOGRAM: "histogram"}
    for row in TABLE:
        assert types[row.prometheus_name] == kinds.get(row.kind, "gauge"), row.name


def test_no_label_names_a_photo_or_a_person() -> None:
    assert len({row.name for row in TABLE}) == len(TABLE)
    rows = {value for value in vars(table).values() if isinstance(value, table.Instrument)}
    assert rows == set(TABLE), "an instrument is missing in TABLE"
    for row in TABLE:
        assert row.meaning.endswith("."), row.name
        assert bool(row.buckets) == (row.kind is Kind.HISTOGRAM), row.name
        assert not {"media_id", "key", "file_name", "path", "url"} & set(row.labels), row.name


def test_a_value_that_the_table_does_not_list_becomes_other(watched: Watched) -> None:
    for number in range(50):
        watched.metrics.add(table.FAILURES, code=f"made-up-{number}")
    assert watched.value(table.FAILURES, code="other") == 50
    assert "made-up" not in watched.page()


def test_an_enumeration_is_the_same_label_as_its_value(watched: Watched) -> None:
    watched.metrics.add(table.PROCESSED, outcome=Processed.READY)
    watched.metrics.add(table.PROCESSED, outcome="ready")

    series = [line for line in watched.page().splitlines() if 'outcome="ready"' in line]
    assert series == ['pipeline_messages_processed_total{outcome="ready"} 2.0']


def test_counters_start_at_zero_where_they_belong() -> None:
    api = Telemetry.start("api", "1", roles=[Role.API])
    page = api.render_metrics()[0].decode()
    api.shutdown()
    assert "pipeline_uploads_completed_total 0.0" in page
    assert "pipeline_failures_total" not in page
    assert 'pipeline_build_info{service="api",version="1"} 1.0' in page


def test_the_page_can_be_read_after_the_end(watched: Watched) -> None:
    watched.telemetry.shutdown()
    assert watched.telemetry.render_metrics()[0]


# --- what photos do --------------------------------------------------------------------------


async def test_a_photo_leaves_its_marks_on_the_page(
    pipeline: WatchedPipeline, watched: Watched
) -> None:
    media = await pipeline.complete(await pipeline.uploaded(b"photo"))
    await pipeline.complete(media)
    pipeline.pipeline.clock.advance(1.5)
    await pipeline.deliver()

    assert watched.value(table.UPLOADS_REQUESTED) == 1
    assert watched.value(table.UPLOADS_COMPLETED) == 1
    assert watched.value(table.DUPLICATES, source="complete-upload") == 1
    assert watched.value(table.ATTEMPTS, outcome="succeeded") == 1
    assert watched.value(table.TIME_TO_READY) == 1
    assert "pipeline_time_to_ready_seconds_sum 1.5" in watched.page()
    assert watched.value(table.STORE_BYTES, direction="in") == len(b"photo")
    assert watched.value(table.STORE_BYTES, direction="out") > 0
    assert watched.value(table.STAGE_SECONDS, stage="upload") == 4
    assert watched.value(table.STAGE_SECONDS, stage="commit") == 2
    assert watched.value(table.PUBLISHED, outcome="confirmed") == 1
    assert watched.value(table.PROCESSED, outcome="ready") == 1
    assert watched.value(table.FAILURES) == 0


async def test_a_second_delivery_is_a_duplicate(
    pipeline: WatchedPipeline, watched: Watched
) -> None:
    await pipeline.complete(await pipeline.uploaded())
    await pipeline.relay_outbox()
    queue = pipeline.pipeline.broker.queues[Queue.PROCESS]
    queue.append(replace(queue[0], returns=1))

    assert [await pipeline.deliver(), await pipeline.deliver()] == ["ready", "duplicate"]

    assert watched.value(table.DUPLICATES, source="delivery") == 1
    assert watched.value(table.REDELIVERIES) == 1


async def test_retries_and_failures_are_counted_by_code(
    pipeline: WatchedPipeline, watched: Watched
) -> None:
    await pipeline.complete(await pipeline.uploaded(b"fail:decode-timeout"))
    assert await pipeline.deliver() == "retrying"
    pipeline.pipeline.clock.advance(3600)
    assert await pipeline.deliver() == "failed"

    assert watched.value(table.RETRIES, code="decode-timeout") == 1
    assert watched.value(table.FAILURES, code="decode-timeout") == 1
    assert watched.value(table.CHILDREN_KILLED, reason="decode-timeout") == 2
    assert watched.value(table.ATTEMPTS, outcome="failed") == 2


async def test_lost_leases_are_counted_by_who_noticed(
    pipeline: WatchedPipeline, watched: Watched
) -> None:
    media = await pipeline.complete(await pipeline.uploaded())
    for time in range(2):  # a worker that claims and dies
        async with pipeline.database.begin() as uow:
            current = await uow.media.get(media.id, lock=True)
            assert current is not None
            await uow.media.save(builders.claim(current, now=uow.now).media)
            await uow.commit()
        pipeline.pipeline.clock.advance(3600)
        if time == 0:
            await pipeline.recover_leases()  # which has seen nothing for an hour, and holds still
            pipeline.pipeline.clock.advance(builders.LEASE_SECONDS / 2)
            await pipeline.recover_leases()
            pipeline.pipeline.clock.advance(3600)
    assert watched.value(table.TAKEOVERS, by="dispatcher") == 1

    assert await pipeline.deliver("worker-2") == "ready"
    assert watched.value(table.TAKEOVERS, by="worker") == 1
    assert watched.value(table.ATTEMPTS, outcome="lease-lost") == 2


async def test_a_dead_letter_is_counted_once_however_often_it_comes(
    pipeline: WatchedPipeline, watched: Watched
) -> None:
    broker = pipeline.pipeline.broker
    for _ in range(2):
        broker.put(Queue.DEAD, Message("7", b"?", reason="rejected"))
    consumer = await broker.consume(Queue.DEAD, prefetch=2)
    for _ in range(2):
        await pipeline.record_dead_letters(await consumer.receive())
    assert watched.value(table.DEAD_LETTERS) == 1


async def test_a_returned_message_is_counted(pipeline: WatchedPipeline, watched: Watched) -> None:
    await pipeline.complete(await pipeline.uploaded())
    pipeline.pipeline.broker.remove_queues()
    with pytest.raises(UnroutableMessage):
        await pipeline.relay_outbox()
    assert watched.value(table.PUBLISHED, outcome="returned") == 1


async def test_what_was_not_committed_is_not_counted(
    pipeline: WatchedPipeline, watched: Watched
) -> None:
    async def add(*, commit: bool) -> None:
        async with pipeline.database.begin() as uow:
            await uow.media.add(builders.pending(9))
            if commit:
                await uow.commit()

    await add(commit=False)
    assert watched.value(table.UPLOADS_REQUESTED) == 0
    await add(commit=True)
    with pytest.raises(VersionConflict):
        await add(commit=True)
    assert watched.value(table.UPLOADS_REQUESTED) == 1


async def test_an_error_in_telemetry_does_not_reach_the_use_case(
    pipeline: WatchedPipeline, watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    def explode(*_: object, **__: object) -> None:
        raise RuntimeError("telemetry is broken")

    monkeypatch.setattr(watched.metrics, "add", explode)
    media = await pipeline.uploaded()
    assert (await pipeline.pipeline.media(media.id)).state is State.PENDING_UPLOAD


# --- what is asked in the background ---------------------------------------------------------


class ScriptedOverview(Overview):
    """Answers with one backlog, or not at all."""

    def __init__(self) -> None:
        self.answer: Backlog | None = Backlog(
            media={State.UPLOADED: Waiting(3, 40.0)}, outbox=Waiting(2, 7.0), dead_letters=1
        )

    async def backlog(self) -> Backlog:
        if self.answer is None:
            raise DatabaseUnavailable("no answer")
        return self.answer

    async def totals(self) -> Mapping[State, int]:
        return {}

    async def failed(self, *, code: FailureCode | None, limit: int) -> list[Media]:
        del code, limit
        return []


async def test_the_backlog_is_shown_from_a_snapshot(watched: Watched) -> None:
    overview = ScriptedOverview()
    poller = BacklogPoller(overview, watched.metrics)
    assert "pipeline_media_waiting" not in watched.page()
    await poller.poll()

    assert watched.value(table.MEDIA_WAITING, state="UPLOADED") == 3
    assert watched.value(table.MEDIA_WAITING, state="RETRYING") == 0
    assert 40 <= watched.value(table.MEDIA_OLDEST, state="UPLOADED") < 50
    assert watched.value(table.MEDIA_OLDEST, state="PROCESSING") == 0
    assert watched.value(table.OUTBOX_DEPTH) == 2
    assert 7 <= watched.value(table.OUTBOX_OLDEST) < 17
    assert watched.value(table.DEAD_LETTERS_KEPT) == 1


async def test_ages_go_on_growing_while_the_database_is_away(watched: Watched) -> None:
    overview = ScriptedOverview()
    poller = BacklogPoller(overview, watched.metrics)
    await poller.poll()
    before = watched.value(table.MEDIA_OLDEST, state="UPLOADED")
    overview.answer = None
    await poller.poll()

    assert watched.value(table.MEDIA_WAITING, state="UPLOADED") == 3
    assert watched.value(table.MEDIA_OLDEST, state="UPLOADED") > before
    assert watched.value(table.BACKLOG_AGE) > 0


async def test_a_dependency_is_up_or_down_as_last_checked(watched: Watched) -> None:
    class Moody(Dependency):
        well = False

        @property
        def name(self) -> str:
            return "store"

        async def check(self) -> None:
            if not self.well:
                raise StoreUnavailable("no answer")

    moody = Moody()
    observed = ObservedDependency(moody, watched.metrics)
    with pytest.raises(StoreUnavailable):
        await observed.check()
    assert 'pipeline_dependency_up{dependency="store"} 0.0' in watched.page()
    moody.well = True
    await observed.check()
    assert 'pipeline_dependency_up{dependency="store"} 1.0' in watched.page()
