"""Takes messages from one queue of the file, and keeps them invisible while it lives."""

import asyncio
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress

from adapters.events import get_logger
from adapters.sqlite.connection import Connection, Work
from adapters.sqlite.messages import Messages, Tag, Taken
from application.ports import Consumer, Delivery, Queue
from domain.errors import BrokerUnavailable

log = get_logger(__name__)

RENEWALS_PER_VISIBILITY = 3


class SqliteDelivery(Delivery):
    def __init__(self, taken: Taken, consumer: "SqliteConsumer", queue: Queue) -> None:
        self._taken = taken
        self._consumer = consumer
        self._queue = queue

    @property
    def message_id(self) -> str:
        return self._taken.message_id

    @property
    def body(self) -> bytes:
        return self._taken.body

    @property
    def headers(self) -> Mapping[str, str]:
        return self._taken.headers

    @property
    def redelivered(self) -> bool:
        return self._taken.tag.deliveries > 1

    @property
    def reason(self) -> str | None:
        return self._taken.reason

    async def ack(self) -> None:
        await self._consumer.settle(self._taken.tag, "ack")

    async def dead_letter(self) -> None:
        if self._queue is Queue.DEAD:
            await self.ack()
        else:
            await self._consumer.settle(self._taken.tag, "dead_letter")

    async def requeue(self) -> None:
        await self._consumer.settle(self._taken.tag, "give_back")


class SqliteConsumer(Consumer):
    """Made by `SqliteBroker.consume`; `wake` lets every consumer of this process look again."""

    def __init__(
        self,
        connection: Connection,
        messages: Messages,
        queue: Queue,
        *,
        prefetch: int,
        poll_seconds: float,
        wake: Callable[[], None],
        forget: Callable[["SqliteConsumer"], None],
    ) -> None:
        self._queue = queue
        self._connection = connection
        self._messages = messages
        self._prefetch = prefetch
        self._poll_seconds = poll_seconds
        self._wake = wake
        self._forget = forget
        self._unsettled: dict[Tag, None] = {}
        self._waiting: deque[Taken] = deque()
        self._something_changed = asyncio.Event()
        self._receiving = asyncio.Lock()
        self._taking = asyncio.Lock()
        self._stopped = False
        self._out_of_reach = False
        self._renewal = asyncio.create_task(self._renew_for_ever())

    # --- taking ------------------------------------------------------------------------------

    async def receive(self) -> SqliteDelivery:
        async with self._receiving:
            while True:
                self._something_changed.clear()
                await self._take()
                if self._waiting:
                    return SqliteDelivery(self._waiting.popleft(), self, self._queue)
                await self._pause()

    async def _take(self) -> None:
        """One message, if there is one and room for it, into `_waiting`; an outage is waited out.

        A message taken although our caller was cancelled meanwhile waits for the next one.
        """
        taken: list[tuple[Taken | None, int]] = []
        async with self._taking:
            if self._stopped or self._waiting or len(self._unsettled) >= self._prefetch:
                return
            try:
                await self._connection.run(
                    lambda connection: taken.append(self._messages.take(connection, self._queue))
                )
                self._note_outage(None)
            except BrokerUnavailable as error:
                self._note_outage(error)
            finally:
                self._keep(taken)

    def _keep(self, taken: list[tuple[Taken | None, int]]) -> None:
        for message, given_up in taken:
            if message is not None:
                self._unsettled[message.tag] = None
                self._waiting.append(message)
            if given_up:
                self._wake()

    async def _pause(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(self._poll_seconds):
                await self._something_changed.wait()

    def look_again(self) -> None:
        """There may be something to receive."""
        self._something_changed.set()

    # --- settling ----------------------------------------------------------------------------

    async def settle(self, tag: Tag, how: str) -> None:
        """Ends the delivery for us, whatever the file says; unanswered, the message comes again."""
        try:
            was_out = await self._connection.run(self._settling(tag, how))
        finally:
            self._unsettled.pop(tag, None)
            self._wake()
        if not was_out:
            raise BrokerUnavailable(f"message {tag.seq} was taken back before it was settled")

    def _settling(self, tag: Tag, how: str) -> Work[bool]:
        messages = self._messages
        works: dict[str, Work[bool]] = {
            "ack": lambda connection: messages.ack(connection, tag),
            "dead_letter": lambda connection: messages.dead_letter(connection, tag),
            "give_back": lambda connection: messages.give_back(connection, [tag], self._queue),
        }
        return works[how]

    async def _renew_for_ever(self) -> None:
        """A message stays ours however long its work takes; it comes back if we fall silent."""
        period = self._messages.visibility_seconds / RENEWALS_PER_VISIBILITY
        while True:
            await asyncio.sleep(period)
            tags = list(self._unsettled)
            if not tags:
                continue
            try:
                await self._connection.run(lambda c, tags=tags: self._messages.renew(c, tags))
                self._note_outage(None)
            except BrokerUnavailable as error:
                self._note_outage(error)

    # --- ending ------------------------------------------------------------------------------

    async def reconnect(self) -> None:
        async with self._taking:
            self._waiting.clear()
            await self._give_back(list(self._unsettled))

    async def stop(self) -> None:
        self._stopped = True
        self.look_again()
        async with self._taking:
            tags = [taken.tag for taken in self._waiting]
            self._waiting.clear()
            await self._give_back(tags)

    async def close(self) -> None:
        await self.stop()
        self._renewal.cancel()
        await asyncio.gather(self._renewal, return_exceptions=True)
        await self._give_back(list(self._unsettled))
        self._forget(self)

    async def _give_back(self, tags: list[Tag]) -> None:
        """At once if the file can be reached, else after the visibility time."""
        for tag in tags:
            self._unsettled.pop(tag, None)
        if tags:
            with suppress(BrokerUnavailable):
                await self._connection.run(lambda c: self._messages.give_back(c, tags, self._queue))
            self._wake()

    def _note_outage(self, error: BrokerUnavailable | None) -> None:
        """Say once when the file is out of reach, and once when it is back."""
        if error is not None and not self._out_of_reach:
            log.warning("queue_unavailable", error=error, queue=self._queue.value)
        elif error is None and self._out_of_reach:
            log.info("queue_available", queue=self._queue.value)
        self._out_of_reach = error is not None
