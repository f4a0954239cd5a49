"""What tests of RabbitMQ share: a clean topology, impatient time limits, faults on the way."""

import asyncio
from collections.abc import AsyncGenerator, Iterable
from contextlib import asynccontextmanager
from typing import Any

import aio_pika
from aio_pika.abc import AbstractChannel
from yarl import URL

from adapters.rabbitmq import RabbitBroker, Timing, declare_topology
from adapters.rabbitmq.topology import DELIVERY_LIMIT, EXCHANGE
from application.ports import Consumer, Delivery, Queue
from tests.support.proxy import Proxy, proxy_before
from tests.support.waiting import WAIT_SECONDS, eventually

_ORIGINS = ("/adapters/rabbitmq/", "/aio_pika/", "/aiormq/")

IMPATIENT = Timing(
    heartbeat_seconds=1,
    connect_seconds=2.0,
    publish_seconds=2.0,
    settle_seconds=1.0,
    check_seconds=1.0,
    close_seconds=1.0,
    backoff_base_seconds=0.01,
    backoff_cap_seconds=0.05,
)


@asynccontextmanager
async def admin(url: str) -> AsyncGenerator[AbstractChannel]:
    """A channel of the driver itself, to do what the adapter never does."""
    connection = await aio_pika.connect(url)
    async with connection, connection.channel() as channel:
        yield channel


async def remove_topology(url: str) -> None:
    async with admin(url) as channel:
        for queue in Queue:
            await channel.queue_delete(queue.value)
        await channel.exchange_delete(EXCHANGE)


async def fresh_topology(url: str, *, delivery_limit: int = DELIVERY_LIMIT) -> None:
    """Both queues, empty."""
    await remove_topology(url)
    await declare_topology(url, delivery_limit=delivery_limit)


@asynccontextmanager
async def leakproof_broker(url: str) -> AsyncGenerator[RabbitBroker]:
    """A broker, closed at the end; it must leave no task behind."""
    before = asyncio.all_tasks()
    broker = RabbitBroker(url, fraction=lambda: 1.0, timing=IMPATIENT)
    try:
        yield broker
    finally:
        await broker.close()
    await eventually(lambda: _left_since(before), until=lambda left: not left)


@asynccontextmanager
async def proxy_to(url: str) -> AsyncGenerator[tuple[Proxy, str]]:
    """A proxy before the broker, and the URL that leads through it."""
    target = URL(url)
    assert target.host is not None
    async with proxy_before(target.host, target.port or 5672) as proxy:
        yield proxy, str(target.with_host("127.0.0.1").with_port(proxy.port))


async def all_gone(proxy: Proxy) -> None:
    """Wait until the last connection is closed, now that nothing holds back their ends."""

    async def count() -> int:
        return proxy.connections

    proxy.thaw()
    await eventually(count, until=lambda open_: open_ == 0)


async def publish(broker: RabbitBroker, names: Iterable[str]) -> None:
    for name in names:
        await broker.publish(name, b"{}", {})


async def receive(consumer: Consumer) -> Delivery:
    return await asyncio.wait_for(consumer.receive(), WAIT_SECONDS)


async def _left_since(before: set[asyncio.Task[Any]]) -> list[str]:
    """Tasks of the adapter or its driver that were not there before."""
    names = [repr(task) for task in asyncio.all_tasks() - before]
    return [name for name in names if any(origin in name for origin in _ORIGINS)]
