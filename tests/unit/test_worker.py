"""The worker's loop around a handler that has a defect."""

import asyncio
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import cast

import pytest

from application.messages import ProcessRequest
from application.ports import Queue
from application.process_media import Processed, ProcessMedia
from domain.failure import FailureCode
from entrypoints import worker
from entrypoints.worker import CRASHES_MAX, Worker, WorkerLimits
from tests.support.pipeline import Pipeline, pipeline_at
from tests.support.waiting import eventually

pytestmark = pytest.mark.anyio


@pytest.fixture
async def pipeline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncGenerator[Pipeline]:
    monkeypatch.setattr(worker, "CRASH_PAUSE_SECONDS", 0.0)
    async with pipeline_at(tmp_path) as made:
        yield made


class Broken:
    """Crashes the first `times`, then finds nothing to do."""

    def __init__(self, times: int) -> None:
        self.times = times
        self.calls = 0

    async def __call__(self, _request: ProcessRequest, _stopping: asyncio.Event) -> Processed:
        self.calls += 1
        if self.calls <= self.times:
            raise AssertionError("a defect")
        return Processed.DUPLICATE


async def _run_until_settled(pipeline: Pipeline, broken: Broken, calls: int) -> None:
    await pipeline.relay_outbox()
    stop = asyncio.Event()
    running = asyncio.create_task(
        Worker(
            broker=pipeline.broker,
            overview=pipeline.database.overview,
            process=cast("ProcessMedia", broken),
            ids=pipeline.ids,
            limits=WorkerLimits(concurrency=1, grace_seconds=1),
        ).run(stop)
    )

    async def settled() -> bool:
        return broken.calls >= calls and not pipeline.broker.queues[Queue.PROCESS]

    await eventually(settled)
    stop.set()
    await running


async def test_a_message_whose_handler_always_crashes_is_dead_lettered(pipeline: Pipeline) -> None:
    media = await pipeline.accepted()
    broken = Broken(times=1_000)

    await _run_until_settled(pipeline, broken, CRASHES_MAX)

    assert broken.calls == CRASHES_MAX
    consumer = await pipeline.broker.consume(Queue.DEAD, prefetch=1)
    delivery = await consumer.receive()
    await pipeline.record_dead_letters(delivery)
    await delivery.ack()
    await consumer.close()
    failure = (await pipeline.media(media.id)).failure
    assert failure is not None
    assert failure.code is FailureCode.MESSAGE_UNDELIVERABLE


async def test_a_message_whose_handler_crashes_for_a_while_is_handled(pipeline: Pipeline) -> None:
    await pipeline.accepted()
    broken = Broken(times=CRASHES_MAX - 1)

    await _run_until_settled(pipeline, broken, CRASHES_MAX)

    assert broken.calls == CRASHES_MAX
    assert not pipeline.broker.queues[Queue.DEAD]
