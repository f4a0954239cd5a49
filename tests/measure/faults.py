"""The faults of the crash and outage tests, one at a time, and by which metrics each must be seen.

A fault is a context manager: it prepares, does the damage just before its body begins, and mends
it afterwards. Its signs are queries that an operator's Prometheus can ask.
"""

import asyncio
import itertools
import signal
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass

from adapters.rabbitmq import declare_topology
from application.messages import ProcessRequest
from application.ports import Queue
from domain.lifecycle import State
from tests.e2e.asking import nothing_waits, stored
from tests.e2e.photos import draw
from tests.e2e.sending import accepted, finished
from tests.support.builders import ulid
from tests.support.outages import Links
from tests.support.product import ProductProcess
from tests.support.rabbitmq import admin, remove_topology
from tests.support.systems import System
from tests.support.toxiproxy import Link
from tests.support.waiting import eventually

# Ages that are not reached while all is well. A photo's is shown as of a snapshot that is taken
# every 5 s, and grows with it.
LONG_SECONDS = 7.0
OUTDATED_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Sign:
    """`moved` compares the value of one series with the one before it, each time it is read."""

    title: str
    series: str
    moved: Callable[[float, float], bool]


def rises(series: str) -> Sign:
    """A counter that its process took along when it died does not hide what follows."""
    return Sign(f"`{series}` rises", series, lambda before, now: now > before)


def restarts(job: str) -> Sign:
    series = f'process_start_time_seconds{{job="{job}"}}'
    return Sign(f"`{series}` changes", series, lambda before, now: now > before)


def falls(series: str) -> Sign:
    return Sign(f"`{series}` is 0", series, lambda before, now: now == 0 < before)


def old(series: str, seconds: float = LONG_SECONDS) -> Sign:
    title = f"`{series}` above {seconds:.0f} s"
    return Sign(title, series, lambda before, now: now > seconds >= before)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """What faults are made on: two workers, each with one photo at a time, behind links."""

    system: System
    links: Links
    rabbitmq_url: str


Make = Callable[[Stage], AbstractAsyncContextManager[None]]


@dataclass(frozen=True, slots=True)
class Fault:
    """`signs` in the order in which they are expected."""

    name: str
    make: Make
    signs: tuple[Sign, ...]


# --- processes -------------------------------------------------------------------------------


async def _in_hand(stage: Stage, number: int) -> tuple[str, ProductProcess]:
    """A photo that its worker has claimed and cannot decode; the other worker can."""
    workers = stage.system.workers
    for worker in workers:
        worker.hold_decoding()
    media_id = await accepted(stage.system, draw(number))
    media = await eventually(
        lambda: stored(stage.system, media_id),
        until=lambda media: media.state is State.PROCESSING,
    )
    (holder,) = (
        worker
        for worker in workers
        if media.worker_id in [event["worker_id"] for event in worker.events("process_started")]
    )
    for worker in workers:
        if worker is not holder:
            worker.resume_forked()
    return media_id, holder


@asynccontextmanager
async def _worker_killed(stage: Stage) -> AsyncGenerator[None]:
    media_id, holder = await _in_hand(stage, 1)
    holder.kill()
    yield
    holder.start()
    await stage.system.client().finished(media_id)


@asynccontextmanager
async def _worker_replaced(stage: Stage) -> AsyncGenerator[None]:
    media_id, holder = await _in_hand(stage, 2)
    holder.kill()
    holder.start()
    yield
    await stage.system.client().finished(media_id)


@asynccontextmanager
async def _worker_paused(stage: Stage) -> AsyncGenerator[None]:
    media_id, holder = await _in_hand(stage, 3)
    holder.pause()
    yield
    holder.resume()
    await stage.system.client().finished(media_id)
    holder.kill()  # it has no forkserver now that the next fault could hold
    holder.start()


def _killed(role: str) -> Make:
    @asynccontextmanager
    async def make(stage: Stage) -> AsyncGenerator[None]:
        (process,) = stage.system.of_role(role)
        process.kill()
        yield
        process.start()

    return make


@asynccontextmanager
async def _decoder_killed(stage: Stage) -> AsyncGenerator[None]:
    media_id = await accepted(stage.system, draw(4, width=6000, height=4000))
    await _kill_a_decoder(stage)
    yield
    await stage.system.client().finished(media_id)


@asynccontextmanager
async def _decoder_killed_always(stage: Stage) -> AsyncGenerator[None]:
    """What a photo does whose decoder dies of it."""

    async def kill_them_all() -> None:
        while True:
            await _kill_a_decoder(stage, seconds=60.0)

    media_id = await accepted(stage.system, draw(5, width=6000, height=4000))
    await _kill_a_decoder(stage)
    killing = asyncio.create_task(kill_them_all())
    yield
    document = await stage.system.client().finished(media_id)
    killing.cancel()
    assert document["status"] == "FAILED", document


async def _kill_a_decoder(stage: Stage, seconds: float = 10.0) -> None:
    async def kill() -> bool:
        return any(worker.kill_a_decoder() for worker in stage.system.workers)

    await eventually(kill, seconds=seconds)


# --- servers ---------------------------------------------------------------------------------


def _away(which: Callable[[Links], Link], fault: Callable[[Link], None]) -> Make:
    """While a photo a second goes on coming, each from a client of its own."""

    async def arrive(stage: Stage, group: asyncio.TaskGroup) -> None:
        for number in itertools.count(20):
            group.create_task(finished(stage.system, draw(number, width=320, height=240)))
            await asyncio.sleep(1.0)

    @asynccontextmanager
    async def make(stage: Stage) -> AsyncGenerator[None]:
        link = which(stage.links)
        async with asyncio.TaskGroup() as group:
            arriving = group.create_task(arrive(stage, group))
            await asyncio.to_thread(fault, link)
            yield
            arriving.cancel()
            await asyncio.to_thread(link.mend)

    return make


@asynccontextmanager
async def _queues_deleted(stage: Stage) -> AsyncGenerator[None]:
    await remove_topology(stage.rabbitmq_url)
    media_id = await accepted(stage.system, draw(6))
    yield
    await declare_topology(stage.rabbitmq_url)
    await stage.system.client().finished(media_id)


# --- messages and photos ---------------------------------------------------------------------


@asynccontextmanager
async def _message_lost(stage: Stage) -> AsyncGenerator[None]:
    """Both workers are busy, so the message of a third photo waits in the queue: until a purge."""
    system = stage.system
    for worker in system.workers:
        worker.hold_decoding()
    held = [await accepted(system, draw(number)) for number in (7, 8)]
    for media_id in held:
        await eventually(
            lambda media_id=media_id: stored(system, media_id),
            until=lambda media: media.state is State.PROCESSING,
        )
    lost = await accepted(system, draw(9))

    async def unsent() -> int:
        return (await system.inside.overview.backlog()).outbox.count

    await eventually(unsent, until=lambda count: count == 0)
    async with admin(stage.rabbitmq_url) as channel:
        queue = await channel.get_queue(Queue.PROCESS.value, ensure=False)
        await queue.purge()
    for worker in system.workers:
        worker.resume_forked()
    yield
    await system.client().finished(lost, timeout_seconds=120.0)


@asynccontextmanager
async def _delivered_often(stage: Stage) -> AsyncGenerator[None]:
    document = await finished(stage.system, draw(10))
    await stage.system.publish(ProcessRequest(document["media_id"], 0), times=10)
    yield


@asynccontextmanager
async def _malformed(stage: Stage) -> AsyncGenerator[None]:
    await stage.system.publish_raw((b"hello", {}))
    yield


@asynccontextmanager
async def _unknown(stage: Stage) -> AsyncGenerator[None]:
    await stage.system.publish(ProcessRequest(ulid(404), 0))
    yield


@asynccontextmanager
async def _truncated(stage: Stage) -> AsyncGenerator[None]:
    photo = draw(11)
    await finished(stage.system, photo[: len(photo) // 2])
    yield


# --- all of them -----------------------------------------------------------------------------

_UP = {job: falls(f'up{{job="pipeline-{job}"}}') for job in ("api", "worker", "dispatcher")}
_WORKED_LONG = old('pipeline_media_oldest_age_seconds{state="PROCESSING"}')
_TAKEN_OVER = rises("pipeline_lease_takeovers_total")
_REDELIVERED = rises("pipeline_messages_redelivered_total")
_CRASHED = rises('pipeline_children_killed_total{reason="decoder-crashed"}')
_REFUSED = rises(
    "http_server_request_duration_seconds_count"
    '{http_response_status_code="503",http_route!~"/health/.*"}'
)


def _server(link: str, name: str, *more: Sign) -> list[Fault]:
    """A server that refuses connections, and one that keeps them and says nothing."""
    ways = {"down": Link.cut, "half-open": Link.swallow}
    signs = (falls(f'pipeline_dependency_up{{dependency="{name}"}}'), *more)
    return [
        Fault(f"{link} {way}", _away(lambda links: getattr(links, link), fault), signs)
        for way, fault in ways.items()
    ]


FAULTS = (
    Fault(
        "worker killed with a photo in hand",
        _worker_killed,
        (_UP["worker"], _REDELIVERED, _WORKED_LONG, _TAKEN_OVER),
    ),
    Fault(
        "the same, started again at once",
        _worker_replaced,
        (restarts("pipeline-worker"), _REDELIVERED, _WORKED_LONG, _TAKEN_OVER),
    ),
    Fault(
        "worker paused past its lease", _worker_paused, (_UP["worker"], _WORKED_LONG, _TAKEN_OVER)
    ),
    Fault("dispatcher killed", _killed("dispatcher"), (_UP["dispatcher"],)),
    Fault("API killed", _killed("api"), (_UP["api"],)),
    Fault("decoder killed", _decoder_killed, (_CRASHED, rises("pipeline_retries_total"))),
    Fault(
        "photo that kills every decoder",
        _decoder_killed_always,
        (_CRASHED, rises('pipeline_failures_total{code="decoder-crashed"}')),
    ),
    *_server("broker", "rabbitmq", old("pipeline_outbox_oldest_age_seconds")),
    *_server(
        "database",
        "postgres",
        _REFUSED,
        old("pipeline_backlog_snapshot_age_seconds", OUTDATED_SECONDS),
    ),
    *_server("store", "minio", _REFUSED),
    Fault(
        "queues deleted",
        _queues_deleted,
        (
            rises('pipeline_messages_published_total{outcome="returned"}'),
            old("pipeline_outbox_oldest_age_seconds"),
        ),
    ),
    Fault(
        "message lost",
        _message_lost,
        (old('pipeline_media_oldest_age_seconds{state="UPLOADED"}'),),
    ),
    Fault(
        "message delivered ten times more",
        _delivered_often,
        (rises('pipeline_duplicates_total{source="delivery"}'),),
    ),
    Fault(
        "message that is not ours",
        _malformed,
        (
            rises('pipeline_messages_processed_total{outcome="malformed"}'),
            rises("pipeline_dead_letters_total"),
        ),
    ),
    Fault(
        "message for a photo that does not exist",
        _unknown,
        (rises('pipeline_messages_processed_total{outcome="unknown"}'),),
    ),
    Fault(
        "photo cut in half",
        _truncated,
        (rises('pipeline_failures_total{code="image-truncated"}'),),
    ),
)


async def healed(stage: Stage) -> None:
    """Wait until every process is ready and no photo is under way."""
    for process in stage.system.processes.values():
        process.signal(signal.SIGCONT)
        if process.running:
            process.resume_forked()
        await process.ready()
    await nothing_waits(stage.system)
