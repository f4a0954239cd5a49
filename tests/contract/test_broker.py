"""What `Publisher`, `Broker`, `Consumer` and `Delivery` promise, on every set."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest

from application.ports import Broker, Consumer, Delivery, Queue
from domain.errors import BrokerUnavailable, UnroutableMessage
from tests.support.sets import BrokerPorts

pytestmark = pytest.mark.anyio

RECEIVE_SECONDS = 15.0
QUIET_SECONDS = 0.2
HEADERS = {"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}


@asynccontextmanager
async def consumer(
    broker: Broker, queue: Queue = Queue.PROCESS, *, prefetch: int = 10
) -> AsyncGenerator[Consumer]:
    consumer = await broker.consume(queue, prefetch=prefetch)
    try:
        yield consumer
    finally:
        await consumer.close()


async def receive(consumer: Consumer) -> Delivery:
    async with asyncio.timeout(RECEIVE_SECONDS):
        return await consumer.receive()


async def receive_and_ack(consumer: Consumer, count: int) -> list[Delivery]:
    deliveries: list[Delivery] = []
    for _ in range(count):
        delivery = await receive(consumer)
        await delivery.ack()
        deliveries.append(delivery)
    return deliveries


async def stays_quiet(consumer: Consumer) -> bool:
    """Whether nothing is delivered for a moment."""
    try:
        async with asyncio.timeout(QUIET_SECONDS):
            await consumer.receive()
    except TimeoutError:
        return True
    return False


async def publish(ports: BrokerPorts, *ids: str) -> None:
    for message_id in ids:
        await ports.publisher.publish(message_id, message_id.encode(), {})


async def test_a_message_arrives_as_it_was_sent(broker_ports: BrokerPorts) -> None:
    body = bytes(range(256))
    await broker_ports.publisher.publish("4711", body, HEADERS)
    async with consumer(broker_ports.broker) as consuming:
        delivery = await receive(consuming)
        assert (delivery.message_id, delivery.body) == ("4711", body)
        assert dict(delivery.headers).items() >= HEADERS.items()
        assert not delivery.redelivered
        assert delivery.reason is None
        await delivery.ack()


async def test_a_consumer_that_was_there_first_is_woken(broker_ports: BrokerPorts) -> None:
    async with consumer(broker_ports.broker) as consuming:
        waiting = asyncio.create_task(receive(consuming))
        assert not (await asyncio.wait({waiting}, timeout=0.05))[0]
        await publish(broker_ports, "1")
        await (await waiting).ack()


async def test_an_acked_message_never_comes_again(broker_ports: BrokerPorts) -> None:
    await publish(broker_ports, "1", "2")
    async with consumer(broker_ports.broker) as consuming:
        first = await receive(consuming)
        await first.ack()
        second = await receive(consuming)
        await second.ack()
    assert {first.message_id, second.message_id} == {"1", "2"}
    async with consumer(broker_ports.broker) as consuming:
        assert await stays_quiet(consuming)


async def test_an_unacked_message_comes_again_after_a_close(broker_ports: BrokerPorts) -> None:
    await publish(broker_ports, "1")
    async with consumer(broker_ports.broker) as consuming:
        lost = await receive(consuming)
    async with consumer(broker_ports.broker) as consuming:
        again = await receive(consuming)
        assert (again.message_id, again.body) == (lost.message_id, lost.body)
        assert again.redelivered
        await again.ack()


async def test_a_delivery_of_a_closed_consumer_cannot_be_settled(
    broker_ports: BrokerPorts,
) -> None:
    await publish(broker_ports, "1")
    async with consumer(broker_ports.broker) as consuming:
        lost = await receive(consuming)
    with pytest.raises(BrokerUnavailable):
        await lost.ack()
    async with consumer(broker_ports.broker) as consuming:
        await (await receive(consuming)).ack()


async def test_unsettled_messages_come_again_after_a_reconnect(broker_ports: BrokerPorts) -> None:
    await publish(broker_ports, "1", "2")
    async with consumer(broker_ports.broker) as consuming:
        kept = await receive(consuming)
        await kept.ack()
        lost = await receive(consuming)
        await consuming.reconnect()
        again = await receive(consuming)
        assert again.message_id == lost.message_id
        assert again.redelivered
        await again.ack()


async def test_a_delivery_from_before_a_reconnect_cannot_be_settled(
    broker_ports: BrokerPorts,
) -> None:
    await publish(broker_ports, "1")
    async with consumer(broker_ports.broker) as consuming:
        lost = await receive(consuming)
        await consuming.reconnect()
        with pytest.raises(BrokerUnavailable):
            await lost.ack()
        await (await receive(consuming)).ack()


async def test_a_requeued_message_comes_again(broker_ports: BrokerPorts) -> None:
    await publish(broker_ports, "1")
    async with consumer(broker_ports.broker) as consuming:
        await (await receive(consuming)).requeue()
        again = await receive(consuming)
        assert again.message_id == "1"
        assert again.redelivered
        await again.ack()


async def test_a_dead_letter_lands_in_dead_with_reason_and_body(broker_ports: BrokerPorts) -> None:
    await broker_ports.publisher.publish("4711", b"not ours", HEADERS)
    async with consumer(broker_ports.broker) as consuming:
        await (await receive(consuming)).dead_letter()
        assert await stays_quiet(consuming)
    async with consumer(broker_ports.broker, Queue.DEAD) as consuming:
        letter = await receive(consuming)
        assert (letter.message_id, letter.body) == ("4711", b"not ours")
        assert letter.reason == "rejected"
        assert letter.headers["traceparent"] == HEADERS["traceparent"]
        await letter.dead_letter()
    async with consumer(broker_ports.broker, Queue.DEAD) as consuming:
        assert await stays_quiet(consuming)


async def test_an_unacked_dead_letter_comes_again(broker_ports: BrokerPorts) -> None:
    await publish(broker_ports, "1")
    async with consumer(broker_ports.broker) as consuming:
        await (await receive(consuming)).dead_letter()
    for _ in range(2):
        async with consumer(broker_ports.broker, Queue.DEAD) as consuming:
            letter = await receive(consuming)
            assert letter.reason == "rejected"
    async with consumer(broker_ports.broker, Queue.DEAD) as consuming:
        await (await receive(consuming)).ack()


async def test_no_more_than_prefetch_are_unsettled(broker_ports: BrokerPorts) -> None:
    await publish(broker_ports, "1", "2", "3")
    async with consumer(broker_ports.broker, prefetch=2) as consuming:
        first, second = await receive(consuming), await receive(consuming)
        third = asyncio.create_task(receive(consuming))
        assert not (await asyncio.wait({third}, timeout=QUIET_SECONDS))[0]
        await first.ack()
        for delivery in (await third, second):
            await delivery.ack()


async def test_one_slow_message_does_not_hold_up_another_consumer(
    broker_ports: BrokerPorts,
) -> None:
    await publish(broker_ports, "1", "2")
    async with (
        consumer(broker_ports.broker, prefetch=1) as one,
        consumer(broker_ports.broker, prefetch=1) as two,
    ):
        slow, quick = await receive(one), await receive(two)
        assert {slow.message_id, quick.message_id} == {"1", "2"}
        await quick.ack()
        await publish(broker_ports, "3")
        assert [delivery.message_id for delivery in await receive_and_ack(two, 1)] == ["3"]
        await slow.ack()


async def test_a_stopped_consumer_takes_no_more_but_settles_what_it_has(
    broker_ports: BrokerPorts,
) -> None:
    await publish(broker_ports, "1", "2", "3")
    async with consumer(broker_ports.broker) as stopped:
        mine = await receive(stopped)
        await stopped.stop()
        async with consumer(broker_ports.broker) as other:
            others = await receive_and_ack(other, 2)
            assert {delivery.message_id for delivery in others} == {"1", "2", "3"} - {
                mine.message_id
            }
            await mine.ack()
            await publish(broker_ports, "4")
            assert [one.message_id for one in await receive_and_ack(other, 1)] == ["4"]
        await publish(broker_ports, "5")
        assert await stays_quiet(stopped)
    async with consumer(broker_ports.broker) as consuming:
        assert [one.message_id for one in await receive_and_ack(consuming, 1)] == ["5"]
    async with consumer(broker_ports.broker) as consuming:
        assert await stays_quiet(consuming)


async def test_a_cancelled_receive_loses_no_message(broker_ports: BrokerPorts) -> None:
    async with consumer(broker_ports.broker) as consuming:
        for number in range(10):
            waiting = asyncio.create_task(consuming.receive())
            await asyncio.sleep(0)
            publishing = asyncio.create_task(publish(broker_ports, str(number)))
            for _ in range(number):
                await asyncio.sleep(0)
            waiting.cancel()
            await asyncio.wait({waiting, publishing})
            delivery = await receive(consuming) if waiting.cancelled() else waiting.result()
            assert delivery.message_id == str(number)
            await delivery.ack()


async def test_two_hundred_overlapping_publishes_all_arrive(broker_ports: BrokerPorts) -> None:
    ids = {str(number) for number in range(200)}
    await asyncio.gather(*(publish(broker_ports, message_id) for message_id in ids))
    async with consumer(broker_ports.broker, prefetch=50) as consuming:
        received = await receive_and_ack(consuming, 200)
    assert {delivery.message_id for delivery in received} == ids


async def test_consumers_share_messages_without_overlap(broker_ports: BrokerPorts) -> None:
    ids = {str(number) for number in range(40)}
    await asyncio.gather(*(publish(broker_ports, message_id) for message_id in ids))
    async with consumer(broker_ports.broker) as one, consumer(broker_ports.broker) as two:
        received: list[str] = []

        async def work(consuming: Consumer) -> None:
            while len(received) < len(ids):
                [delivery] = await receive_and_ack(consuming, 1)
                received.append(delivery.message_id)

        workers = {asyncio.create_task(work(one)), asyncio.create_task(work(two))}
        await asyncio.wait(workers, return_when=asyncio.FIRST_COMPLETED, timeout=RECEIVE_SECONDS)
        for worker in workers:
            worker.cancel()
        await asyncio.wait(workers)
    assert sorted(received) == sorted(ids)


@pytest.mark.parametrize("broker_ports", ["memory", "production"], indirect=True)
async def test_an_unroutable_message_is_an_error_and_not_lost_silently(
    broker_ports: BrokerPorts,
) -> None:
    assert broker_ports.unroute is not None
    await broker_ports.unroute()
    with pytest.raises(UnroutableMessage, match="4711"):
        await broker_ports.publisher.publish("4711", b"", {})


async def test_a_message_outlives_its_publisher(broker_ports: BrokerPorts) -> None:
    await publish(broker_ports, "1")
    await broker_ports.dependency.check()
    async with consumer(broker_ports.broker) as consuming:
        assert [one.message_id for one in await receive_and_ack(consuming, 1)] == ["1"]
