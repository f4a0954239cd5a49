"""A dispatcher that is told to stop leaves no message in limbo."""

import asyncio
from collections.abc import AsyncGenerator, Mapping
from pathlib import Path

import pytest

from entrypoints.dispatcher import Dispatcher, DispatcherParts
from tests.support.builders import LEASE_SECONDS
from tests.support.pipeline import Pipeline, pipeline_at

pytestmark = pytest.mark.anyio


@pytest.fixture
async def pipeline(tmp_path: Path) -> AsyncGenerator[Pipeline]:
    async with pipeline_at(tmp_path) as made:
        yield made


def dispatcher_of(pipeline: Pipeline) -> Dispatcher:
    parts = DispatcherParts(
        relay=pipeline.database.relay,
        hint=pipeline.database.hint,
        broker=pipeline.broker,
        ids=pipeline.ids,
        relay_outbox=pipeline.relay_outbox,
        recover_leases=pipeline.recover_leases,
        requeue_silent=pipeline.requeue_silent,
        expire_uploads=pipeline.expire_uploads,
        sweep_objects=pipeline.sweep_objects,
        record_dead_letters=pipeline.record_dead_letters,
        lease_seconds=LEASE_SECONDS,
    )
    return Dispatcher(parts)


async def test_a_message_that_is_being_sent_at_the_stop_is_sent_and_marked(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    media = await pipeline.accepted()
    publish, sending, confirm = pipeline.broker.publish, asyncio.Event(), asyncio.Event()

    async def confirm_late(message_id: str, body: bytes, headers: Mapping[str, str]) -> None:
        sending.set()
        await confirm.wait()
        await publish(message_id, body, headers)

    monkeypatch.setattr(pipeline.broker, "publish", confirm_late)
    running = asyncio.create_task(dispatcher_of(pipeline).run())
    await asyncio.wait_for(sending.wait(), 5.0)
    running.cancel()
    asyncio.get_running_loop().call_soon(confirm.set)
    await asyncio.wait({running}, timeout=5.0)

    assert running.cancelled()
    assert [sent.media_id for sent in pipeline.sent()] == [media.id]
    pipeline.clock.advance(60)
    assert await pipeline.relay_outbox() == 0
