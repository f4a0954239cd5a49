"""Publishing: what is confirmed is safe, what is not confirmed raises, nothing hangs."""

import asyncio
from collections.abc import AsyncGenerator

import pytest

from adapters.rabbitmq import RabbitBroker, declare_topology
from adapters.rabbitmq.connection import broker_errors
from adapters.rabbitmq.topology import EXCHANGE
from application.ports import Queue
from domain.errors import BrokerUnavailable, UnroutableMessage
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
)
from tests.support.waiting import eventually

pytestmark = pytest.mark.anyio


@pytest.fixture
async def proxied(rabbitmq_url: str) -> AsyncGenerator[tuple[Proxy, RabbitBroker]]:
    await fresh_topology(rabbitmq_url)
    async with proxy_to(rabbitmq_url) as (proxy, url):
        async with leakproof_broker(url) as broker:
            yield proxy, broker
        await all_gone(proxy)


async def test_a_message_arrives_with_id_body_and_headers(broker: RabbitBroker) -> None:
    await broker.publish("42", b'{"x":1}', {"traceparent": "00-abc"})
    delivery = await receive(await broker.consume(Queue.PROCESS, prefetch=1))
    assert (delivery.message_id, delivery.body) == ("42", b'{"x":1}')
    assert delivery.headers == {"traceparent": "00-abc"}
    assert (delivery.redelivered, delivery.reason) == (False, None)


async def test_a_message_is_persistent_json_of_this_application(
    broker: RabbitBroker, rabbitmq_url: str
) -> None:
    await publish(broker, ["m"])
    async with admin(rabbitmq_url) as channel:
        message = await (await channel.get_queue(Queue.PROCESS.value)).get(no_ack=True)
    assert message.content_type == "application/json"
    assert message.app_id == "image-pipeline"
    assert message.delivery_mode == 2


async def test_publishing_without_a_queue_raises_unroutable(
    broker: RabbitBroker, rabbitmq_url: str
) -> None:
    async with admin(rabbitmq_url) as channel:
        await channel.queue_delete(Queue.PROCESS.value)
    with pytest.raises(UnroutableMessage, match="message lost-1 was returned"):
        await publish(broker, ["lost-1"])
    await declare_topology(rabbitmq_url)
    await publish(broker, ["found"])


async def test_publishing_without_the_exchange_raises_unroutable_and_recovers(
    broker: RabbitBroker, rabbitmq_url: str
) -> None:
    async with admin(rabbitmq_url) as channel:
        await channel.exchange_delete(EXCHANGE)
    with pytest.raises(UnroutableMessage):
        await publish(broker, ["lost"])
    await declare_topology(rabbitmq_url)
    await publish(broker, ["found"])


async def test_each_of_overlapping_publishes_gets_its_own_answer(
    broker: RabbitBroker, rabbitmq_url: str
) -> None:
    async with admin(rabbitmq_url) as channel:
        await channel.queue_delete(Queue.PROCESS.value)
    answers = await asyncio.gather(
        *(broker.publish(str(n), b"{}", {}) for n in range(50)), return_exceptions=True
    )
    assert [type(answer) for answer in answers] == [UnroutableMessage] * 50
    assert [f"message {n} was" in str(answer) for n, answer in enumerate(answers)] == [True] * 50


async def test_a_batch_waits_for_its_confirms_together(
    proxied: tuple[Proxy, RabbitBroker], rabbitmq_url: str
) -> None:
    proxy, broker = proxied
    await publish(broker, ["warm-up"])
    proxy.mute()
    batch = [asyncio.create_task(broker.publish(str(n), b"{}", {})) for n in range(20)]
    async with leakproof_broker(rabbitmq_url) as direct:
        consumer = await direct.consume(Queue.PROCESS, prefetch=30)
        received = [(await receive(consumer)).message_id for _ in range(21)]
    assert received == ["warm-up", *map(str, range(20))]
    assert not any(task.done() for task in batch)
    proxy.thaw()
    await asyncio.gather(*batch)


async def test_publishing_to_a_broker_that_is_down_raises_and_works_again_later(
    proxied: tuple[Proxy, RabbitBroker],
) -> None:
    proxy, broker = proxied
    await publish(broker, ["before"])
    proxy.refusing = True
    proxy.cut()
    async with asyncio.timeout(1.0):
        for attempt in range(5):
            with pytest.raises(BrokerUnavailable):
                await publish(broker, [f"during-{attempt}"])
    proxy.refusing = False
    await publish(broker, ["after"])


async def test_one_attempt_to_connect_serves_all_who_wait_for_it(
    proxied: tuple[Proxy, RabbitBroker],
) -> None:
    proxy, broker = proxied
    proxy.refusing = True
    calls = (broker.publish(str(n), b"{}", {}) for n in range(30))
    answers = await asyncio.gather(*calls, return_exceptions=True)
    assert {type(answer) for answer in answers} == {BrokerUnavailable}
    assert proxy.refused == 1


async def test_a_connection_lost_before_the_confirm_raises(
    proxied: tuple[Proxy, RabbitBroker],
) -> None:
    proxy, broker = proxied
    await publish(broker, ["warm-up"])
    proxy.mute()
    publishing = asyncio.create_task(broker.publish("unconfirmed", b"{}", {}))
    await asyncio.sleep(0)
    proxy.cut()
    with pytest.raises(BrokerUnavailable):
        await publishing


async def test_a_silent_broker_costs_one_time_limit_and_no_more(
    proxied: tuple[Proxy, RabbitBroker],
) -> None:
    proxy, broker = proxied
    await publish(broker, ["warm-up"])
    proxy.freeze()
    async with asyncio.timeout(IMPATIENT.publish_seconds + 1.0):
        with pytest.raises(BrokerUnavailable, match="no answer in time"):
            await publish(broker, ["unconfirmed"])
        # The silent connection was given up, so the next one does not wait for heartbeats.
        await publish(broker, ["confirmed"])


async def test_a_publish_that_is_cancelled_stays_cancelled(
    proxied: tuple[Proxy, RabbitBroker],
) -> None:
    proxy, broker = proxied
    await publish(broker, ["warm-up"])
    proxy.mute()
    publishing = asyncio.create_task(broker.publish("cancelled", b"{}", {}))
    await asyncio.sleep(0)
    publishing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await publishing


async def test_a_cancellation_that_nobody_asked_for_is_an_outage() -> None:
    """So the driver fails what is pending on a connection that it has given up."""
    pending = asyncio.get_running_loop().create_future()
    pending.cancel()
    with pytest.raises(BrokerUnavailable, match="connection lost"), broker_errors("do it"):
        await pending


async def test_closing_fails_the_publishes_under_way(proxied: tuple[Proxy, RabbitBroker]) -> None:
    proxy, broker = proxied
    await publish(broker, ["warm-up"])
    proxy.mute()
    publishing = asyncio.create_task(broker.publish("unconfirmed", b"{}", {}))
    await asyncio.sleep(0)
    await broker.close()
    with pytest.raises(BrokerUnavailable):
        await publishing


async def test_the_check_passes_fails_and_passes_again(
    proxied: tuple[Proxy, RabbitBroker],
) -> None:
    proxy, broker = proxied
    await broker.check()
    proxy.refusing = True
    proxy.cut()
    async with asyncio.timeout(IMPATIENT.check_seconds):
        with pytest.raises(BrokerUnavailable):
            await eventually(broker.check)
    proxy.refusing = False
    await broker.check()


async def test_the_check_of_a_silent_broker_ends_in_time(
    proxied: tuple[Proxy, RabbitBroker],
) -> None:
    proxy, broker = proxied
    await broker.check()
    proxy.freeze()
    async with asyncio.timeout(IMPATIENT.check_seconds + 0.5):
        with pytest.raises(BrokerUnavailable, match="no answer in time"):
            await broker.check()


async def test_the_check_names_a_missing_queue_and_publishing_goes_on(
    broker: RabbitBroker, rabbitmq_url: str
) -> None:
    async with admin(rabbitmq_url) as channel:
        await channel.queue_delete(Queue.PROCESS.value)
    with pytest.raises(BrokerUnavailable, match=r"no queue 'media\.process'"):
        await broker.check()
    await declare_topology(rabbitmq_url)
    await publish(broker, ["m"])
    await broker.check()
