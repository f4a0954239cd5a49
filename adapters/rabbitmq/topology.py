"""The exchange and the two queues. This module is their only owner; everyone else just uses them.

The exchange carries a version. Arguments of a queue cannot be changed once it exists, so a change
of shape gets a new version and new queue names, never a redeclaration.
"""

import asyncio

from aio_pika import ExchangeType
from aio_pika.abc import AbstractChannel, AbstractExchange
from aio_pika.exceptions import ChannelPreconditionFailed

from adapters.rabbitmq.connection import Timing, broker_errors, close_connection, open_connection
from application.ports import Queue
from domain.errors import InvalidConfiguration

EXCHANGE = "media.v1"
DELIVERY_LIMIT = 20

# Nothing may ever drop a dead letter. Without a limit of its own the queue would get the default
# of RabbitMQ 4 (20 deliveries, then gone); 3.x has no word for "unlimited".
_DEAD_DELIVERY_LIMIT = 1_000_000_000


async def declare_topology(
    url: str, *, delivery_limit: int = DELIVERY_LIMIT, timing: Timing | None = None
) -> None:
    """Create what is missing; safe to repeat.

    A message that was handed back `delivery_limit` times goes to DEAD: a guard against messages
    that kill their worker, to be kept well above the attempts of a photo. Raises
    InvalidConfiguration if the exchange or a queue exists in another shape, BrokerUnavailable.
    """
    timing = timing or Timing()
    connection = await open_connection(url, purpose="migrate", timing=timing)
    try:
        with broker_errors("declare the topology"):
            async with asyncio.timeout(timing.connect_seconds):
                await _declare(await connection.channel(), delivery_limit)
    finally:
        await close_connection(connection, timing)


async def _declare(channel: AbstractChannel, delivery_limit: int) -> None:
    try:
        exchange = await channel.declare_exchange(EXCHANGE, ExchangeType.DIRECT, durable=True)
        await _queue(channel, exchange, Queue.DEAD, dead_arguments())
        await _queue(channel, exchange, Queue.PROCESS, process_arguments(delivery_limit))
    except ChannelPreconditionFailed as error:
        raise InvalidConfiguration([_explain(error)]) from error


async def _queue(
    channel: AbstractChannel,
    exchange: AbstractExchange,
    name: Queue,
    arguments: dict[str, str | int],
) -> None:
    queue = await channel.declare_queue(name.value, durable=True, arguments={**arguments})
    await queue.bind(exchange, routing_key=name.value)


def process_arguments(delivery_limit: int) -> dict[str, str | int]:
    return {
        "x-queue-type": "quorum",
        "x-delivery-limit": delivery_limit,
        "x-dead-letter-exchange": EXCHANGE,
        "x-dead-letter-routing-key": Queue.DEAD.value,
        # At-least-once is honoured only by a queue that rejects publishes when it is full.
        "x-dead-letter-strategy": "at-least-once",
        "x-overflow": "reject-publish",
    }


def dead_arguments() -> dict[str, str | int]:
    return {"x-queue-type": "quorum", "x-delivery-limit": _DEAD_DELIVERY_LIMIT}


def _explain(error: ChannelPreconditionFailed) -> str:
    return (
        f"RabbitMQ already has {EXCHANGE} or one of its queues with other arguments, which cannot "
        f"be changed in place ({error}): restore the former setting, or drain and delete the queue "
        "and run `pipeline migrate` again."
    )
