"""A consumer that outlives its connections: a loop that opens one session after the other.

Deliveries are pulled with `receive`, so handling one hangs on no connection.
"""

import asyncio
import logging
from collections.abc import Callable

from adapters.rabbitmq.connection import Timing
from adapters.rabbitmq.session import Session
from application.ports import Consumer, Delivery, Queue
from domain.errors import BrokerUnavailable

log = logging.getLogger(__name__)


class RabbitConsumer(Consumer):
    """Reconnects for ever, and logs an outage when it begins and when it is over.

    `forget` is told when it is closed.
    """

    def __init__(
        self,
        url: str,
        queue: Queue,
        *,
        prefetch: int,
        fraction: Callable[[], float],
        timing: Timing,
        forget: Callable[["RabbitConsumer"], None],
    ) -> None:
        self._url = url
        self._queue = queue
        self._prefetch = prefetch
        self._fraction = fraction
        self._timing = timing
        self._forget = forget
        self._arrived = asyncio.Event()
        self._session: Session | None = None
        self._supervisor: asyncio.Task[None] | None = None
        self._failures = 0
        self._is_out = False

    async def start(self) -> None:
        """Return after the first attempt to subscribe, whether or not it succeeded."""
        tried = asyncio.Event()
        self._supervisor = asyncio.create_task(self._supervise(tried))
        try:
            await tried.wait()
        except BaseException:
            await self.close()
            raise

    async def receive(self) -> Delivery:
        while True:
            if self._session is not None and (delivery := self._session.take()):
                return delivery
            self._arrived.clear()
            await self._arrived.wait()

    async def reconnect(self) -> None:
        if self._session is not None:
            await self._session.close()

    async def stop(self) -> None:
        await self._end_supervision()
        if self._session is not None:
            await self._session.stop()

    async def close(self) -> None:
        try:
            await self._end_supervision()
            if self._session is not None:
                await self._session.close()
        finally:
            self._forget(self)

    async def _end_supervision(self) -> None:
        if self._supervisor is not None:
            self._supervisor.cancel()
            await asyncio.wait({self._supervisor})

    async def _supervise(self, tried: asyncio.Event) -> None:
        while True:
            session = await self._try_open()
            tried.set()
            if session is not None:
                await self._outlive(session)
            await asyncio.sleep(self._timing.backoff_seconds(self._failures, self._fraction()))

    async def _try_open(self) -> Session | None:
        try:
            self._session = await Session.open(
                self._url,
                self._queue,
                prefetch=self._prefetch,
                arrived=self._arrived,
                timing=self._timing,
            )
        except BrokerUnavailable as error:
            self._note_failure(error)
        except Exception as error:  # noqa: BLE001  whatever it was, the loop must go on
            self._note_failure(repr(error))
        else:
            self._note_success()
            return self._session
        return None

    async def _outlive(self, session: Session) -> None:
        """Wait for the end of the session. One that ends young counts as one more failure."""
        began = asyncio.get_running_loop().time()
        await session.ended.wait()
        lived = asyncio.get_running_loop().time() - began
        if lived > self._timing.backoff_cap_seconds:
            self._failures = 0
        self._note_failure("the subscription was lost")
        await session.close()

    def _note_failure(self, reason: object) -> None:
        if not self._is_out:
            log.warning("not receiving from %s, trying until it works: %s", self._queue, reason)
        self._is_out = True
        self._failures += 1

    def _note_success(self) -> None:
        if self._is_out:
            log.info("receiving from %s again", self._queue)
        self._is_out = False
