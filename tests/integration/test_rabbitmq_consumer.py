"""Consuming, with and without faults on the way: nothing is lost, nothing hangs."""

import asyncio
import gc
import logging
import weakref
from collections.abc import AsyncGenerator
from typing import cast

import pytest

from adapters.rabbitmq import RabbitBroker, declare_topology
from adapters.rabbitmq.consumer import RabbitConsumer
from adapters.rabbitmq.delivery import RabbitDelivery
from application.ports import Consumer, Queue
from domain.errors import BrokerUnavailable
from tests.support.proxy import Proxy
from tests.support.rabbitmq import (
    IMPATIENT,
    admin,
    all_gone,
    fresh_topology,
    leakproof_broker,
    proxy_to,
    publish,
    receive,
    remove_topology,
)
from tests.support.waiting import eventually

pytestmark = pytest.mark.anyio


@pytest.fixture
async def proxied(
    rabbitmq_url: str,
    broker: RabbitBroker,  # noqa: ARG001  must outlive this one
) -> AsyncGenerator[tuple[Proxy, RabbitBroker]]:
    """The same by a way that can be disturbed; what it leaves behind, `broker` complains of."""
    async with proxy_to(rabbitmq_url) as (proxy, url):
        distant = RabbitBroker(url, fraction=lambda: 1.0, timing=IMPATIENT)
        yield proxy, distant
        await distant.close()
        await all_gone(proxy)


async def ids(consumer: Consumer, count: int) -> list[str]:
    return [(await receive(consumer)).message_id for _ in range(count)]


async def test_at_most_prefetch_deliveries_are_held(broker: RabbitBroker) -> None:
    await publish(broker, "abcde")
    two = await broker.consume(Queue.PROCESS, prefetch=2)
    held = [await receive(two), await receive(two)]
    rest = await broker.consume(Queue.PROCESS, prefetch=10)
    assert await ids(rest, 3) == ["c", "d", "e"]
    await publish(broker, "f")
    assert await ids(rest, 1) == ["f"]
    # Now `rest` is no more; an ack makes room for one.
    await rest.close()
    await held[0].ack()
    assert (await receive(two)).redelivered


async def test_what_is_unsettled_on_close_comes_again_and_says_so(broker: RabbitBroker) -> None:
    await publish(broker, "ab")
    first = await broker.consume(Queue.PROCESS, prefetch=2)
    settled, unsettled = await receive(first), await receive(first)
    await settled.ack()
    await first.close()
    again = await receive(await broker.consume(Queue.PROCESS, prefetch=2))
    assert (again.message_id, again.redelivered) == ("b", True)
    with pytest.raises(BrokerUnavailable):
        await unsettled.ack()


async def test_a_requeued_message_comes_again(broker: RabbitBroker) -> None:
    await publish(broker, "a")
    consumer = await broker.consume(Queue.PROCESS, prefetch=1)
    await (await receive(consumer)).requeue()
    again = await receive(consumer)
    assert (again.message_id, again.redelivered) == ("a", True)


async def test_settling_twice_raises_and_harms_nobody(broker: RabbitBroker) -> None:
    await publish(broker, "ab")
    consumer = await broker.consume(Queue.PROCESS, prefetch=2)
    a, b = await receive(consumer), await receive(consumer)
    await a.ack()
    with pytest.raises(BrokerUnavailable, match="no longer ours"):
        await a.requeue()
    await b.ack()


async def test_an_ack_survives_the_cancellation_of_its_caller(broker: RabbitBroker) -> None:
    await publish(broker, "ab")
    consumer = await broker.consume(Queue.PROCESS, prefetch=1)
    acking = asyncio.create_task((await receive(consumer)).ack())
    await asyncio.sleep(0)
    acking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await acking
    assert await ids(consumer, 1) == ["b"]


async def test_a_cancelled_receive_loses_nothing(broker: RabbitBroker) -> None:
    consumer = await broker.consume(Queue.PROCESS, prefetch=1)
    receiving = asyncio.create_task(consumer.receive())
    await asyncio.sleep(0)
    receiving.cancel()
    await publish(broker, "a")
    assert await ids(consumer, 1) == ["a"]


async def test_several_receivers_share_a_consumer(broker: RabbitBroker) -> None:
    consumer = await broker.consume(Queue.PROCESS, prefetch=3)
    receiving = [asyncio.create_task(receive(consumer)) for _ in range(3)]
    await publish(broker, "abc")
    assert {delivery.message_id for delivery in await asyncio.gather(*receiving)} == set("abc")


async def test_stopping_hands_back_what_was_not_received(broker: RabbitBroker) -> None:
    await publish(broker, "abcd")
    leaving = await broker.consume(Queue.PROCESS, prefetch=4)
    received = await receive(leaving)
    await leaving.stop()
    staying = await broker.consume(Queue.PROCESS, prefetch=10)
    assert sorted(await ids(staying, 3)) == ["b", "c", "d"]
    await publish(broker, "efgh")
    later = [await receive(staying) for _ in "efgh"]
    assert [(each.message_id, each.redelivered) for each in later] == [(n, False) for n in "efgh"]
    await received.ack()
    await leaving.close()
    await publish(broker, "i")
    assert await ids(staying, 1) == ["i"]


async def test_stopping_twice_and_closing_twice_is_fine(broker: RabbitBroker) -> None:
    consumer = await broker.consume(Queue.PROCESS, prefetch=1)
    for _ in range(2):
        await consumer.stop()
    for _ in range(2):
        await consumer.close()


async def test_a_stopped_consumer_stays_stopped_when_its_connection_goes(
    proxied: tuple[Proxy, RabbitBroker], broker: RabbitBroker
) -> None:
    proxy, distant = proxied
    consumer = await distant.consume(Queue.PROCESS, prefetch=1)
    await consumer.stop()
    proxy.cut()
    await all_gone(proxy)
    await publish(broker, "a")
    assert await ids(await broker.consume(Queue.PROCESS, prefetch=1), 1) == ["a"]


async def test_a_lost_connection_brings_the_message_again_and_voids_the_old_delivery(
    proxied: tuple[Proxy, RabbitBroker], broker: RabbitBroker
) -> None:
    proxy, distant = proxied
    await publish(broker, "a")
    consumer = await distant.consume(Queue.PROCESS, prefetch=1)
    old = await receive(consumer)
    proxy.cut()
    again = await receive(consumer)
    assert (again.message_id, again.redelivered) == ("a", True)
    for settle in (old.ack, old.requeue):
        with pytest.raises(BrokerUnavailable):
            await settle()
    await again.ack()


async def test_a_buffered_delivery_is_forgotten_with_its_connection(
    proxied: tuple[Proxy, RabbitBroker], broker: RabbitBroker
) -> None:
    proxy, distant = proxied
    await publish(broker, "ab")
    consumer = cast("RabbitConsumer", await distant.consume(Queue.PROCESS, prefetch=2))
    await eventually(lambda: _buffered(consumer), until=lambda count: count == 2)
    proxy.cut()
    await eventually(lambda: _buffered(consumer), until=lambda count: count == 0)
    for name in "ab":
        delivery = await receive(consumer)
        assert (delivery.message_id, delivery.redelivered) == (name, True)
        await delivery.ack()


async def _buffered(consumer: RabbitConsumer) -> int:
    session = consumer._session  # pyright: ignore[reportPrivateUsage]
    return len(session._buffer) if session else 0  # pyright: ignore[reportPrivateUsage]


async def test_reconnect_starts_anew(broker: RabbitBroker) -> None:
    await publish(broker, "a")
    consumer = await broker.consume(Queue.PROCESS, prefetch=1)
    old = await receive(consumer)
    await consumer.reconnect()
    with pytest.raises(BrokerUnavailable):
        await old.ack()
    assert (await receive(consumer)).redelivered


async def test_a_subscription_cancelled_by_the_broker_is_made_again(
    broker: RabbitBroker, rabbitmq_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    consumer = await broker.consume(Queue.PROCESS, prefetch=1)
    for name in "ab":
        caplog.clear()
        async with admin(rabbitmq_url) as channel:
            await channel.queue_delete(Queue.PROCESS.value)
        await eventually(lambda: _logged(caplog))
        await declare_topology(rabbitmq_url)
        await publish(broker, name)
        delivery = await receive(consumer)
        assert delivery.message_id == name
        await delivery.ack()


async def _logged(caplog: pytest.LogCaptureFixture) -> str:
    return caplog.text


async def test_a_subscription_lost_in_silence_is_mended_by_reconnect(
    broker: RabbitBroker, rabbitmq_url: str
) -> None:
    """RabbitMQ 3.10 may forget to cancel when a queue is deleted and declared again at once."""
    consumer = await broker.consume(Queue.PROCESS, prefetch=1)
    await fresh_topology(rabbitmq_url)
    await publish(broker, "a")
    await consumer.reconnect()
    assert await ids(consumer, 1) == ["a"]


async def test_a_channel_closed_by_the_broker_is_opened_again(broker: RabbitBroker) -> None:
    await publish(broker, "a")
    consumer = await broker.consume(Queue.PROCESS, prefetch=1)
    delivery = cast("RabbitDelivery", await receive(consumer))
    # An ack of what was acked before is a protocol error: the broker closes the channel.
    message = delivery._message  # pyright: ignore[reportPrivateUsage]
    assert message.delivery_tag is not None
    await message.channel.basic_ack(message.delivery_tag)
    await message.channel.basic_ack(message.delivery_tag)
    await publish(broker, "b")
    assert await ids(consumer, 1) == ["b"]


async def test_half_open_tcp_is_noticed_by_heartbeats(
    proxied: tuple[Proxy, RabbitBroker], broker: RabbitBroker
) -> None:
    proxy, distant = proxied
    await publish(broker, "a")
    consumer = await distant.consume(Queue.PROCESS, prefetch=1)
    await receive(consumer)
    proxy.freeze()
    assert (await receive(consumer)).redelivered


async def test_an_outage_is_logged_when_it_begins_and_when_it_ends(
    proxied: tuple[Proxy, RabbitBroker], broker: RabbitBroker, caplog: pytest.LogCaptureFixture
) -> None:
    async def refused() -> int:
        return proxy.refused

    caplog.set_level(logging.INFO)
    proxy, distant = proxied
    consumer = await distant.consume(Queue.PROCESS, prefetch=1)
    proxy.refusing = True
    proxy.cut()
    await eventually(refused, until=lambda count: count > 10)
    proxy.refusing = False
    await publish(broker, "a")
    await receive(consumer)
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]
    assert "media.process" in caplog.text


async def test_a_consumer_may_start_before_its_queue_exists(rabbitmq_url: str) -> None:
    await remove_topology(rabbitmq_url)
    async with leakproof_broker(rabbitmq_url) as broker:
        consumer = await broker.consume(Queue.PROCESS, prefetch=1)
        await declare_topology(rabbitmq_url)
        await publish(broker, "a")
        assert await ids(consumer, 1) == ["a"]


async def test_a_consumer_that_is_closed_is_forgotten(broker: RabbitBroker) -> None:
    closed = await broker.consume(Queue.DEAD, prefetch=1)
    trace = weakref.ref(closed)
    await closed.close()
    del closed
    gc.collect()
    assert trace() is None


async def test_closing_during_an_outage_ends_at_once(
    proxied: tuple[Proxy, RabbitBroker],
) -> None:
    proxy, distant = proxied
    proxy.refusing = True
    consumer = await distant.consume(Queue.PROCESS, prefetch=1)
    async with asyncio.timeout(1.0):
        await consumer.stop()
        await consumer.close()
        await distant.close()


async def test_closing_a_silent_connection_ends_in_time(
    proxied: tuple[Proxy, RabbitBroker],
) -> None:
    proxy, distant = proxied
    consumer = await distant.consume(Queue.PROCESS, prefetch=1)
    proxy.freeze()
    async with asyncio.timeout(3.0):
        await consumer.stop()
        await consumer.close()
