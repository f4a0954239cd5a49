"""The worker's loop: take deliveries, process them, settle them. Any number may run."""

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Coroutine, Generator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any, Protocol

from adapters.events import get_logger
from application.messages import ProcessRequest, decode
from application.ports import Broker, Consumer, Delivery, Ids, Overview, Queue
from application.process_media import Processed, ProcessMedia
from domain.errors import BrokerUnavailable, DatabaseUnavailable, MalformedMessage, Unavailable
from domain.lifecycle import State
from entrypoints.loops import backoff_seconds

log = get_logger(__name__)

RELEASE_SECONDS = 1.5
CRASHES_MAX = 5
CRASH_PAUSE_SECONDS = 1.0
_MESSAGES_REMEMBERED = 256
# Messages that no commit of ours has sent: somebody else writes to the queue, or a restored backup
# of the database is older than it.
_NOT_ASKED_FOR = frozenset({Processed.UNKNOWN, Processed.EARLY})


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerLimits:
    """`concurrency` photos at once; `grace_seconds` to finish them after a stop; a consumer that
    gets nothing for `deaf_seconds` while photos wait is deaf.
    """

    concurrency: int
    grace_seconds: float
    deaf_seconds: float = 90.0


class Handling(Protocol):
    """Is told what becomes of one delivery."""

    def finished(self, outcome: str) -> None:
        """`outcome` is a value of `Processed`, `requeued`, or `error` for a dead letter."""
        ...

    def settling(self, answer: str) -> AbstractContextManager[None]:
        """Settling happens inside; `answer` is ack, dead_letter or requeue."""
        ...


class DeliveryObserver(Protocol):
    """Watches deliveries from outside: spans and counts."""

    def process_span(
        self, request: ProcessRequest, delivery: Delivery
    ) -> AbstractContextManager[Handling]:
        """All that is done for the delivery happens inside."""
        ...

    def malformed(self, delivery: Delivery) -> None:
        """The delivery is no message of ours."""
        ...


class Unobserved(DeliveryObserver):
    """Nobody watches."""

    @contextmanager
    def process_span(self, request: ProcessRequest, delivery: Delivery) -> Generator[Handling]:
        del request, delivery
        yield _Unheard()

    def malformed(self, delivery: Delivery) -> None:
        del delivery


class _Unheard(Handling):
    def finished(self, outcome: str) -> None:
        del outcome

    def settling(self, answer: str) -> AbstractContextManager[None]:
        del answer
        return nullcontext()


class ConsumerDeaf(Exception):
    """Photos wait, nothing is delivered, and reconnecting did not help: let a restart try."""


class Worker:
    """Consumes PROCESS. A delivery is settled in one place, after what it asked for is durable.

    A handler belongs to the worker and not to the connection its delivery came on: when that is
    lost the photo is finished all the same, and the second delivery finds nothing to do.
    """

    def __init__(
        self,
        *,
        broker: Broker,
        overview: Overview,
        process: ProcessMedia,
        ids: Ids,
        limits: WorkerLimits,
        observer: DeliveryObserver | None = None,
    ) -> None:
        self._broker = broker
        self._overview = overview
        self._process = process
        self._ids = ids
        self._limits = limits
        self._observer = observer or Unobserved()
        self._slots = asyncio.Semaphore(limits.concurrency)
        self._handlers: set[asyncio.Task[None]] = set()
        self._hurry = asyncio.Event()
        self._deliveries = 0
        self._crashes = _Crashes()

    async def run(self, stop: asyncio.Event) -> None:
        """Work until `stop`; then finish within the grace time, or release. Raises ConsumerDeaf."""
        consumer = await self._broker.consume(Queue.PROCESS, prefetch=self._limits.concurrency)
        feeding = asyncio.create_task(self._feed(consumer))
        watching = asyncio.create_task(self._watch(consumer))
        stopping = asyncio.create_task(stop.wait())
        try:
            await asyncio.wait({feeding, watching, stopping}, return_when=asyncio.FIRST_COMPLETED)
            for task in (feeding, watching):
                task.cancel()
            await consumer.stop()
            await self._wind_down()
            await _raise_failure(feeding, watching)
        finally:
            await _end([feeding, watching, stopping, *self._handlers])
            await consumer.close()

    async def _wind_down(self) -> None:
        """Let handlers finish; those that do not in time give their photos back."""
        if self._handlers:
            await asyncio.wait(self._handlers, timeout=self._limits.grace_seconds)
        self._hurry.set()
        if self._handlers:
            await asyncio.wait(self._handlers, timeout=RELEASE_SECONDS)

    async def _feed(self, consumer: Consumer) -> None:
        while True:
            await self._slots.acquire()
            try:
                delivery = await consumer.receive()
            except BaseException:
                self._slots.release()
                raise
            self._deliveries += 1
            handler = asyncio.create_task(self._handle(delivery))
            self._handlers.add(handler)
            handler.add_done_callback(self._handled)

    def _handled(self, handler: asyncio.Task[None]) -> None:
        self._handlers.discard(handler)
        self._slots.release()

    async def _handle(self, delivery: Delivery) -> None:
        """Decide what becomes of the delivery, then settle it."""
        try:
            request = decode(delivery.body, delivery.headers)
        except MalformedMessage as malformed:
            log.warning("message_malformed", error=malformed)
            self._observer.malformed(delivery)
            await _settle(delivery.dead_letter)
            return
        with self._observer.process_span(request, delivery) as handling:
            outcome = await self._outcome(request, delivery.message_id)
            if outcome in _NOT_ASKED_FOR:
                log.warning("message_not_asked_for", outcome=outcome, media_id=request.media_id)
            if outcome is None and self._crashes.are_too_many(delivery.message_id):
                handling.finished("error")
                answer, settle = "dead_letter", delivery.dead_letter
            else:
                handling.finished(outcome or "requeued")
                answer = "ack" if outcome else "requeue"
                settle = delivery.ack if outcome else delivery.requeue
            with handling.settling(answer):
                await _settle(settle)

    async def _outcome(self, request: ProcessRequest, message_id: str) -> Processed | None:
        """How the request was dealt with; None if it was not, and somebody else should try.

        While the database is away the delivery is kept, so that the worker takes no more than it
        holds already.
        """
        failures = 0
        while not self._hurry.is_set():
            try:
                return await self._process(request, self._hurry)
            except DatabaseUnavailable as error:
                failures += 1
                log.warning("claim_failed", error=error, media_id=request.media_id)
                await asyncio.sleep(backoff_seconds(failures, self._ids))
            except Exception as defect:  # noqa: BLE001 - counted; too many end in a dead letter
                log.error("handler_crashed", error=defect, media_id=request.media_id)
                self._crashes.note(message_id)
                await asyncio.sleep(CRASH_PAUSE_SECONDS)
                return None
        return None

    async def _watch(self, consumer: Consumer) -> None:
        """Notice a consumer that has gone deaf: reconnect it first, give up second."""
        suspicions = 0
        while True:
            seen = self._deliveries
            await asyncio.sleep(self._limits.deaf_seconds)
            idle = seen == self._deliveries and not self._handlers
            if not (idle and await self._photos_wait()):
                suspicions = 0
                continue
            suspicions += 1
            if suspicions > 1:
                raise ConsumerDeaf(f"nothing delivered for {2 * self._limits.deaf_seconds} s")
            log.warning("consumer_deaf", idle_seconds=self._limits.deaf_seconds)
            await consumer.reconnect()

    async def _photos_wait(self) -> bool:
        """Whether photos wait whose message was sent while we were idle.

        Either for long, or they were enqueued a second time and nobody has taken them yet.
        """
        try:
            backlog = await self._overview.backlog()
        except Unavailable:
            return False
        uploaded = backlog.media.get(State.UPLOADED)
        long_wait = uploaded is not None and uploaded.oldest_seconds > self._limits.deaf_seconds
        sent = backlog.outbox.oldest_seconds < self._limits.deaf_seconds
        return sent and (long_wait or backlog.requeued > 0)


class _Crashes:
    """How often each message has met a defect of ours here, for the latest messages that did.

    Not left to the broker's delivery limit: RabbitMQ 4.3 does not count what is handed back.
    """

    def __init__(self) -> None:
        self._counts: OrderedDict[str, int] = OrderedDict()

    def note(self, message_id: str) -> None:
        self._counts[message_id] = self._counts.pop(message_id, 0) + 1
        if len(self._counts) > _MESSAGES_REMEMBERED:
            self._counts.popitem(last=False)

    def are_too_many(self, message_id: str) -> bool:
        return self._counts.get(message_id, 0) >= CRASHES_MAX


async def _settle(settle: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """The one place where deliveries are settled; not even a cancellation interrupts it."""
    try:
        await asyncio.shield(asyncio.ensure_future(settle()))
    except BrokerUnavailable as error:
        # It comes again, and there will be nothing left to do.
        log.info("delivery_not_settled", reason=str(error))


async def _end(tasks: Sequence[asyncio.Task[Any]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def _raise_failure(*tasks: asyncio.Task[None]) -> None:
    for outcome in await asyncio.gather(*tasks, return_exceptions=True):
        if isinstance(outcome, Exception):
            raise outcome
