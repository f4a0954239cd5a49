"""Whether a broker does what the topology asks of it, found out beside the real queues.

Brokers accept arguments that they do not know, so a declaration that succeeds proves little. Here
queues of the same shape under other names are made, used and removed; a run that is killed leaves
them to the broker, which removes unused ones after a minute. The real queues see no message.
"""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from aio_pika import Connection, ExchangeType, Message
from aio_pika.abc import AbstractChannel, AbstractIncomingMessage, AbstractQueue
from aio_pika.exceptions import ChannelNotFoundEntity, QueueEmpty

from adapters.rabbitmq.connection import Timing, broker_errors, close_connection, open_connection
from adapters.rabbitmq.topology import (
    DELIVERY_LIMIT,
    EXCHANGE,
    dead_arguments,
    process_arguments,
)
from application.ports import Queue

UNUSED_MILLISECONDS = 60_000
TRIAL_SECONDS = 10.0
_POLL_SECONDS = 0.05


class Trial:
    """One connection to the broker. Every method raises BrokerUnavailable."""

    def __init__(self, connection: Connection, timing: Timing) -> None:
        self._connection = connection
        self._timing = timing

    @classmethod
    @asynccontextmanager
    async def open(cls, url: str, *, timing: Timing | None = None) -> AsyncGenerator["Trial"]:
        timing = timing or Timing()
        connection = await open_connection(url, purpose="doctor", timing=timing)
        try:
            yield cls(connection, timing)
        finally:
            await close_connection(connection, timing)

    async def missing(self) -> list[str]:
        """The names of the exchange and the queues that are not there."""
        names = (EXCHANGE, *(queue.value for queue in Queue))
        return [name for name in names if not await self._exists(name)]

    async def dead_letters_arrive(self, name: str) -> bool:
        """Whether a rejected message reaches the dead-letter queue, in copies called `name`."""
        with broker_errors("try the topology"):
            async with asyncio.timeout(TRIAL_SECONDS):
                channel = await self._connection.channel(on_return_raises=True)
                process, dead = await _declare_copies(channel, name)
                try:
                    return await _reject_one(channel, name, process, dead)
                finally:
                    await process.delete(if_unused=False, if_empty=False)
                    await dead.delete(if_unused=False, if_empty=False)
                    await channel.exchange_delete(name)

    async def _exists(self, name: str) -> bool:
        """On a channel of its own, which a wrong answer closes."""
        with broker_errors(f"say whether {name} is there"):
            async with asyncio.timeout(self._timing.connect_seconds):
                channel = await self._connection.channel(publisher_confirms=False)
                try:
                    if name == EXCHANGE:
                        await channel.get_exchange(name, ensure=True)
                    else:
                        await channel.get_queue(name, ensure=True)
                except ChannelNotFoundEntity:
                    return False
                await channel.close()
                return True


async def _declare_copies(
    channel: AbstractChannel, name: str
) -> tuple[AbstractQueue, AbstractQueue]:
    exchange = await channel.declare_exchange(
        name, ExchangeType.DIRECT, durable=True, auto_delete=True
    )
    expiry: dict[str, str | int] = {"x-expires": UNUSED_MILLISECONDS}
    arguments = process_arguments(DELIVERY_LIMIT) | expiry
    arguments |= {"x-dead-letter-exchange": name, "x-dead-letter-routing-key": f"{name}.dead"}
    dead = await channel.declare_queue(
        f"{name}.dead", durable=True, arguments={**dead_arguments(), **expiry}
    )
    process = await channel.declare_queue(f"{name}.process", durable=True, arguments={**arguments})
    for queue in (dead, process):
        await queue.bind(exchange, routing_key=queue.name)
    return process, dead


async def _reject_one(
    channel: AbstractChannel, name: str, process: AbstractQueue, dead: AbstractQueue
) -> bool:
    exchange = await channel.get_exchange(name, ensure=False)
    await exchange.publish(Message(b"trial", message_id=name), process.name, mandatory=True)
    sent = await _first(process)
    if sent is None:
        return False
    await sent.reject(requeue=False)
    arrived = await _first(dead)
    if arrived is None:
        return False
    await arrived.ack()
    return True


async def _first(queue: AbstractQueue) -> AbstractIncomingMessage | None:
    """The first message, or None if none comes within a few seconds."""
    for _ in range(round(TRIAL_SECONDS / 3 / _POLL_SECONDS)):
        try:
            return await queue.get(fail=True)
        except QueueEmpty:
            await asyncio.sleep(_POLL_SECONDS)
    return None
