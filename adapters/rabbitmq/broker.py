"""RabbitMQ as the application sees it."""

from collections.abc import Callable, Mapping

from adapters.rabbitmq.connection import Timing
from adapters.rabbitmq.consumer import RabbitConsumer
from adapters.rabbitmq.publisher import ConfirmedPublisher
from application.ports import Broker, Consumer, Dependency, Publisher, Queue


class RabbitBroker(Broker, Publisher, Dependency):
    """Opens nothing before it is used: one connection to publish, one for each consumer.

    `fraction` draws a random number in [0, 1) for the jitter of reconnecting. The topology must
    be there (`declare_topology`); where it is not, consumers wait for it.
    """

    def __init__(
        self, url: str, *, fraction: Callable[[], float], timing: Timing | None = None
    ) -> None:
        self._url = url
        self._fraction = fraction
        self._timing = timing or Timing()
        self._publisher = ConfirmedPublisher(url, self._timing)
        self._consumers: set[RabbitConsumer] = set()

    @property
    def name(self) -> str:
        return "rabbitmq"

    async def publish(self, message_id: str, body: bytes, headers: Mapping[str, str]) -> None:
        await self._publisher.publish(message_id, body, headers)

    async def consume(self, queue: Queue, *, prefetch: int) -> Consumer:
        """Returns after one attempt to subscribe; if that failed, the consumer goes on trying."""
        consumer = RabbitConsumer(
            self._url,
            queue,
            prefetch=prefetch,
            fraction=self._fraction,
            timing=self._timing,
            forget=self._consumers.discard,
        )
        self._consumers.add(consumer)
        await consumer.start()
        return consumer

    async def check(self) -> None:
        await self._publisher.check()

    async def close(self) -> None:
        """Close every consumer and let go of all connections."""
        for consumer in list(self._consumers):
            await consumer.close()
        await self._publisher.close()
