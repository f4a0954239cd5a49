"""A broker in memory: two queues, an unacked set for each consumer, redelivery, dead letters."""

import asyncio
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field

from application.ports import Broker, Consumer, Delivery, Dependency, Publisher, Queue
from domain.errors import BrokerUnavailable, UnroutableMessage


@dataclass(slots=True, eq=False)
class Message:
    """A message at rest in a queue. `returns` counts how often it came back unsettled."""

    message_id: str
    body: bytes
    headers: dict[str, str] = field(default_factory=dict[str, str])
    returns: int = 0
    reason: str | None = None


class MemoryBroker(Broker, Publisher, Dependency):
    """PROCESS and DEAD. `remove_queues` makes every publish unroutable."""

    def __init__(self, *, delivery_limit: int = 20) -> None:
        self.delivery_limit = delivery_limit
        self.queues: dict[Queue, deque[Message]] = {queue: deque() for queue in Queue}
        self.consumers: dict[MemoryConsumer, None] = {}
        self.routable = True

    async def publish(self, message_id: str, body: bytes, headers: Mapping[str, str]) -> None:
        await asyncio.sleep(0)
        if not self.routable:
            raise UnroutableMessage(f"message {message_id} was returned: no queue")
        self.put(Queue.PROCESS, Message(message_id, body, dict(headers)))
        await asyncio.sleep(0)

    async def consume(self, queue: Queue, *, prefetch: int) -> "MemoryConsumer":
        await asyncio.sleep(0)
        consumer = MemoryConsumer(self, queue, prefetch)
        self.consumers[consumer] = None
        return consumer

    @property
    def name(self) -> str:
        return "broker"

    async def check(self) -> None:
        """Memory is always there."""

    def remove_queues(self) -> None:
        self.routable = False

    def put(self, queue: Queue, message: Message, *, front: bool = False) -> None:
        """Make a message available, at the back of its queue or, when it came back, in front."""
        if message.returns > self.delivery_limit and queue is Queue.PROCESS:
            message.reason, queue = "delivery_limit", Queue.DEAD
            front = False
        if front:
            self.queues[queue].appendleft(message)
        else:
            self.queues[queue].append(message)
        self.wake()

    def wake(self) -> None:
        """Let every waiting consumer look again."""
        for consumer in self.consumers:
            consumer.arrived.set()


class MemoryConsumer(Consumer):
    def __init__(self, broker: MemoryBroker, queue: Queue, prefetch: int) -> None:
        self.broker = broker
        self.queue = queue
        self.arrived = asyncio.Event()
        self.unacked: dict[MemoryDelivery, None] = {}
        self._prefetch = prefetch
        self._taking = True

    async def receive(self) -> "MemoryDelivery":
        while True:
            await asyncio.sleep(0)
            waiting = self.broker.queues[self.queue]
            if self._taking and waiting and len(self.unacked) < self._prefetch:
                delivery = MemoryDelivery(self, waiting.popleft())
                self.unacked[delivery] = None
                return delivery
            self.arrived.clear()
            await self.arrived.wait()

    async def reconnect(self) -> None:
        await asyncio.sleep(0)
        self.drop()

    async def stop(self) -> None:
        self._taking = False

    async def close(self) -> None:
        await asyncio.sleep(0)
        self._taking = False
        self.broker.consumers.pop(self, None)
        self.drop()

    def drop(self) -> None:
        """The connection is gone: what is unsettled goes back to the front, in its old order."""
        lost, self.unacked = list(self.unacked), {}
        for delivery in reversed(lost):
            delivery.message.returns += 1
            self.broker.put(self.queue, delivery.message, front=True)


class MemoryDelivery(Delivery):
    def __init__(self, consumer: MemoryConsumer, message: Message) -> None:
        self._consumer = consumer
        self.message = message

    @property
    def message_id(self) -> str:
        return self.message.message_id

    @property
    def body(self) -> bytes:
        return self.message.body

    @property
    def headers(self) -> Mapping[str, str]:
        return self.message.headers

    @property
    def redelivered(self) -> bool:
        return self.message.returns > 0

    @property
    def reason(self) -> str | None:
        return self.message.reason

    async def ack(self) -> None:
        await self._settle()

    async def dead_letter(self) -> None:
        await self._settle()
        if self._consumer.queue is Queue.PROCESS:
            self.message.reason = "rejected"
            self._consumer.broker.put(Queue.DEAD, self.message)

    async def requeue(self) -> None:
        await self._settle()
        self.message.returns += 1
        self._consumer.broker.put(self._consumer.queue, self.message, front=True)

    async def _settle(self) -> None:
        await asyncio.sleep(0)
        if self not in self._consumer.unacked:
            raise BrokerUnavailable(f"delivery {self.message_id} is no longer ours to settle")
        del self._consumer.unacked[self]
        self._consumer.arrived.set()
