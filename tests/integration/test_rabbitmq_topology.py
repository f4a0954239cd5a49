"""The topology by its effects: what happens to messages, not what was declared."""

import asyncio
from types import SimpleNamespace
from typing import cast

import aio_pika
import pytest
from aio_pika.abc import AbstractIncomingMessage

from adapters.rabbitmq import RabbitBroker, declare_topology
from adapters.rabbitmq.delivery import RabbitDelivery, death_reason
from application.ports import Consumer, Queue
from domain.errors import BrokerUnavailable, InvalidConfiguration
from tests.support.rabbitmq import (
    IMPATIENT,
    admin,
    fresh_topology,
    leakproof_broker,
    publish,
    receive,
    remove_topology,
)

pytestmark = pytest.mark.anyio


async def test_declaring_twice_changes_nothing(broker: RabbitBroker, rabbitmq_url: str) -> None:
    await publish(broker, ["kept"])
    await declare_topology(rabbitmq_url)
    assert (await receive(await broker.consume(Queue.PROCESS, prefetch=1))).message_id == "kept"


async def test_another_delivery_limit_is_refused_in_a_full_sentence(
    broker: RabbitBroker, rabbitmq_url: str
) -> None:
    with pytest.raises(InvalidConfiguration, match=r"x-delivery-limit.*drain and delete.*\.$"):
        await declare_topology(rabbitmq_url, delivery_limit=3)
    await broker.check()


async def test_declaring_without_a_broker_raises_broker_unavailable() -> None:
    with pytest.raises(BrokerUnavailable, match="accept a connection"):
        await declare_topology("amqp://guest:secret-word@127.0.0.1:1/")


async def test_a_wrong_password_is_not_repeated_in_the_error(rabbitmq_url: str) -> None:
    with pytest.raises(BrokerUnavailable, match="ACCESS_REFUSED") as caught:
        await declare_topology(rabbitmq_url.replace("guest:guest", "guest:secret-word"))
    assert "secret-word" not in f"{caught.value!r} {caught.value.__cause__!r}"


async def test_a_rejected_message_lands_in_dead_with_its_reason_body_and_headers(
    broker: RabbitBroker,
) -> None:
    await broker.publish("m-1", b'{"a":1}', {"traceparent": "00-x"})
    process = await broker.consume(Queue.PROCESS, prefetch=1)
    await (await receive(process)).dead_letter()
    dead = await receive(await broker.consume(Queue.DEAD, prefetch=1))
    assert (dead.message_id, dead.body, dead.reason) == ("m-1", b'{"a":1}', "rejected")
    assert dead.headers["traceparent"] == "00-x"


async def test_dead_lettering_in_dead_removes_the_message(broker: RabbitBroker) -> None:
    process = await broker.consume(Queue.PROCESS, prefetch=2)
    dead = await broker.consume(Queue.DEAD, prefetch=1)
    for name in ("first", "second"):
        await publish(broker, [name])
        await (await receive(process)).dead_letter()
        # Had the first one stayed or come back, prefetch 1 would hide the second.
        letter = await receive(dead)
        assert letter.message_id == name
        await letter.dead_letter()


async def test_a_message_that_kills_its_consumers_goes_to_dead(rabbitmq_url: str) -> None:
    await fresh_topology(rabbitmq_url, delivery_limit=2)
    async with leakproof_broker(rabbitmq_url) as broker:
        await publish(broker, ["killer"])
        process = await broker.consume(Queue.PROCESS, prefetch=1)
        dead = asyncio.create_task(_receive_dead(broker))
        assert await _times_received(process, until=dead) == 3
        assert await dead == ("killer", "delivery_limit")
    await remove_topology(rabbitmq_url)


async def _receive_dead(broker: RabbitBroker) -> tuple[str, str | None]:
    delivery = await receive(await broker.consume(Queue.DEAD, prefetch=1))
    await delivery.ack()
    return delivery.message_id, delivery.reason


async def _times_received(
    consumer: Consumer, *, until: asyncio.Task[tuple[str, str | None]]
) -> int:
    """Receive and drop the connection, as a crash would, until the message is elsewhere."""
    for times in range(10):
        receiving = asyncio.create_task(consumer.receive())
        await asyncio.wait({receiving, until}, return_when=asyncio.FIRST_COMPLETED)
        if until.done():
            receiving.cancel()
            return times
        await consumer.reconnect()
    raise AssertionError("the broker knows no delivery limit")


async def test_a_dead_letter_survives_many_returns(broker: RabbitBroker) -> None:
    """RabbitMQ 4 drops a message after 20 returns unless it is told otherwise."""
    await publish(broker, ["m"])
    await (await receive(await broker.consume(Queue.PROCESS, prefetch=1))).dead_letter()
    dead = await broker.consume(Queue.DEAD, prefetch=1)
    for _ in range(25):
        await (await receive(dead)).requeue()
    assert (await receive(dead)).message_id == "m"


async def test_a_foreign_message_with_odd_headers_is_readable(
    broker: RabbitBroker, rabbitmq_url: str
) -> None:
    odd = aio_pika.Message(
        b"not ours",
        headers={
            "n": 7,
            "b": bytearray(b"\xff\xfe"),
            "list": [1, "x"],
            "table": {"k": 1},
            "0": None,
        },
    )
    async with admin(rabbitmq_url) as channel:
        for name in Queue:
            await channel.default_exchange.publish(odd, name.value)
    process = await receive(await broker.consume(Queue.PROCESS, prefetch=1))
    dead = await receive(await broker.consume(Queue.DEAD, prefetch=1))
    assert process.headers == {"n": "7", "b": "\ufffd\ufffd"}
    assert (process.reason, dead.reason) == (None, "unknown")


async def test_a_message_without_an_id_is_known_by_its_bytes() -> None:
    """The driver gives every message an id; other clients do not."""

    def delivery(body: bytes) -> RabbitDelivery:
        message = SimpleNamespace(message_id=None, body=body, headers=None)
        return RabbitDelivery(cast("AbstractIncomingMessage", message), Queue.DEAD, IMPATIENT)

    assert delivery(b"x").message_id == delivery(b"x").message_id
    assert delivery(b"x").message_id != delivery(b"y").message_id


@pytest.mark.parametrize("deaths", [None, "x", [], ["x"], [{}], [{"reason": 7}]])
async def test_a_garbled_death_certificate_says_unknown(deaths: object) -> None:
    assert death_reason({"x-death": deaths}) == "unknown"
