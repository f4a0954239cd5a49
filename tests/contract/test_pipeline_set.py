"""The ports of one set together: a message on its way, and the machine's own ports."""

import asyncio
import re

import pytest

from application.messages import decode, encode
from application.ports import Queue
from tests.support import builders
from tests.support.sets import PipelineSet

pytestmark = pytest.mark.anyio


async def test_a_request_travels_from_a_commit_to_a_consumer(pipeline_set: PipelineSet) -> None:
    databases, brokers = pipeline_set.databases, pipeline_set.brokers
    request = builders.request(1, token=3, traceparent=builders.TRACEPARENT)
    async with databases.database.begin() as uow:
        await uow.enqueue(request)
        await uow.commit()
    [row] = await databases.relay.claim(limit=10, hold_seconds=60)
    await brokers.publisher.publish(str(row.id), *encode(row.request))
    await databases.relay.mark_published([row.id])
    consumer = await brokers.broker.consume(Queue.PROCESS, prefetch=1)
    async with asyncio.timeout(15):
        delivery = await consumer.receive()
    assert delivery.message_id == str(row.id)
    assert decode(delivery.body, delivery.headers) == request
    await delivery.ack()
    await consumer.close()


async def test_every_server_of_a_set_says_that_it_is_there(pipeline_set: PipelineSet) -> None:
    parts = (pipeline_set.databases, pipeline_set.brokers, pipeline_set.stores)
    for dependency in (part.dependency for part in parts):
        await dependency.check()
        assert re.fullmatch(r"[a-z]+", dependency.name)


async def test_media_ids_are_ulids_and_never_the_same(pipeline_set: PipelineSet) -> None:
    ids = {pipeline_set.ids.media_id() for _ in range(1000)}
    assert len(ids) == 1000
    assert all(re.fullmatch(r"[0-7][0-9A-HJKMNP-TV-Z]{25}", media_id) for media_id in ids)


async def test_fractions_lie_in_the_unit_interval_and_differ(pipeline_set: PipelineSet) -> None:
    fractions = {pipeline_set.ids.fraction() for _ in range(1000)}
    assert all(0.0 <= fraction < 1.0 for fraction in fractions)
    assert len(fractions) > 900


async def test_a_scratch_folder_is_private_empty_and_gone_at_the_end(
    pipeline_set: PipelineSet,
) -> None:
    async with pipeline_set.scratch.folder() as one, pipeline_set.scratch.folder() as other:
        assert one != other
        assert list(one.iterdir()) == []
        assert one.stat().st_mode & 0o077 == 0
        (one / "sub").mkdir()
        (one / "sub" / "file").write_bytes(b"left behind")
    assert not one.exists()
    assert not other.exists()


async def test_a_scratch_folder_is_gone_after_a_cancellation(pipeline_set: PipelineSet) -> None:
    entered = asyncio.Event()

    async def work() -> None:
        async with pipeline_set.scratch.folder() as folder:
            (folder / "file").write_bytes(b"left behind")
            entered.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(work())
    await entered.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    # Leaving the set asserts that nothing is left below its root.
