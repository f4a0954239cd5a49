"""The broker itself dies and comes back, as in a power cut."""

import asyncio

import pytest

from application.ports import Queue
from domain.errors import BrokerUnavailable
from tests.support.rabbitmq import IMPATIENT, fresh_topology, leakproof_broker, publish, receive
from tests.support.servers import RabbitMq
from tests.support.waiting import eventually

pytestmark = pytest.mark.anyio


async def test_confirmed_messages_and_consumers_outlive_the_broker(
    rabbitmq_server: RabbitMq,
) -> None:
    await _lasting_topology(rabbitmq_server)
    async with leakproof_broker(rabbitmq_server.url) as broker:
        consumer = await broker.consume(Queue.PROCESS, prefetch=1)
        await publish(broker, "abc")
        await receive(consumer)
        await asyncio.to_thread(rabbitmq_server.kill)
        async with asyncio.timeout(IMPATIENT.publish_seconds):
            with pytest.raises(BrokerUnavailable):
                await publish(broker, "x")
        await asyncio.to_thread(rabbitmq_server.start)
        received: set[str] = set()
        while received != {"a", "b", "c"}:
            delivery = await receive(consumer)
            received.add(delivery.message_id)
            await delivery.ack()
        await publish(broker, "d")
        assert (await receive(consumer)).message_id == "d"


async def _lasting_topology(server: RabbitMq) -> None:
    """Declared, and registered on disk: the broker writes that half a second late.

    Killed before that, RabbitMQ keeps the queue but finds no leader for it ever after.
    """
    before = await _registered_at(server)
    await fresh_topology(server.url)
    await eventually(lambda: _registered_at(server), until=lambda at: at > before)


async def _registered_at(server: RabbitMq) -> int:
    registers = server.folder.rglob("quorum/*/names.dets")
    return max((register.stat().st_mtime_ns for register in registers), default=0)
