"""The memory set with faults: what the servers of a bad day do to their clients."""

import asyncio
import shutil
import tempfile
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path

from adapters.memory.broker import MemoryBroker, MemoryConsumer, MemoryDelivery, Message
from adapters.memory.database import MemoryDatabase, MemoryRelay, MemoryUnitOfWork
from adapters.memory.engine import MemoryEngine
from adapters.memory.store import MemoryStore
from application.messages import ProcessRequest, decode
from application.ports import Queue, Scratch
from application.values import Downloaded, OutboxRow, RenderedFile, Rendering, RenderJob
from domain.errors import (
    BrokerUnavailable,
    DatabaseUnavailable,
    MalformedMessage,
    ProcessingFailed,
    StoreUnavailable,
)
from domain.failure import FailureCode
from tests.simulation.checks import Checks
from tests.simulation.faults import Faults
from tests.simulation.loop import Process, current_process

Trace = Callable[[str], None]


class Outages:
    """Which servers are down at the moment."""

    def __init__(self) -> None:
        self.database = self.broker = self.store = False


class SimulatedDatabase(MemoryDatabase):
    """Slow, sometimes away, and at times silent about a commit that it made."""

    def __init__(
        self,
        clock: Callable[[], datetime],
        faults: Faults,
        outages: Outages,
        checks: Checks,
        trace: Trace,
    ) -> None:
        super().__init__(clock)
        self.faults = faults
        self.outages = outages
        self.checks = checks
        self.trace = trace
        self.objects: Callable[[], dict[str, str]] = dict
        self.confirmed: set[str] = set()
        self.process_clock = clock
        self.relay = SimulatedRelay(self)

    @asynccontextmanager
    async def begin(self) -> AsyncGenerator["SimulatedUnitOfWork"]:
        await self.answer()
        yield SimulatedUnitOfWork(self)

    async def answer(self) -> None:
        """What every call costs, and how it can fail."""
        await asyncio.sleep(self.faults.random.random() * 0.01)
        if self.outages.database or self.faults.strikes("database_unavailable"):
            raise DatabaseUnavailable("simulated")


class SimulatedUnitOfWork(MemoryUnitOfWork):
    def __init__(self, database: SimulatedDatabase) -> None:
        super().__init__(database)
        self.simulated = database
        self.began_at = database.clock()
        self.requests: list[ProcessRequest] = []

    async def enqueue(self, request: ProcessRequest, *, delay_seconds: float = 0.0) -> None:
        self.requests.append(request)
        await super().enqueue(request, delay_seconds=delay_seconds)

    async def commit(self) -> None:
        database = self.simulated
        await database.answer()
        if database.faults.strikes("commit_lost"):
            raise DatabaseUnavailable("simulated: the commit never arrived")
        before = database.tables.media
        previous = {media_id: before.get(media_id) for media_id in self.written}
        await super().commit()
        objects = database.objects()
        for media_id, media in self.written.items():
            database.trace(f"{media_id[-4:]} {media.state} {media.lease_token} v{media.version}")
            old = previous[media_id]
            database.checks.committed(old, media, self.requests, self.began_at, objects)
            await database.faults.after(f"{media.state} committed")
        if database.faults.strikes("commit_answer_lost"):
            raise DatabaseUnavailable("simulated: the answer to the commit was lost")


class SimulatedRelay(MemoryRelay):
    def __init__(self, database: SimulatedDatabase) -> None:
        super().__init__(database)
        self._simulated = database

    async def claim(self, *, limit: int, hold_seconds: float) -> Sequence[OutboxRow]:
        await self._simulated.answer()
        return await super().claim(limit=limit, hold_seconds=hold_seconds)

    async def mark_published(self, ids: Sequence[int]) -> None:
        for row_id in ids:
            confirmed = str(row_id) in self._simulated.confirmed
            self._simulated.checks.require(confirmed, f"row {row_id} was marked unconfirmed")
        await self._simulated.answer()
        await super().mark_published(ids)
        await self._simulated.faults.after("marked")


class SimulatedBroker(MemoryBroker):
    """Loses, doubles, delays, reorders; confirms late or never; drops connections."""

    def __init__(self, faults: Faults, outages: Outages, checks: Checks, trace: Trace) -> None:
        super().__init__(delivery_limit=100)
        self.faults = faults
        self.outages = outages
        self.checks = checks
        self.trace = trace
        self.database: SimulatedDatabase | None = None
        self.workers: dict[Process, str] = {}

    async def publish(self, message_id: str, body: bytes, headers: Mapping[str, str]) -> None:
        faults = self.faults
        await asyncio.sleep(faults.random.random() * 0.01)
        if self.outages.broker or faults.strikes("publish_failed"):
            raise BrokerUnavailable("simulated")
        if faults.strikes("message_garbled"):
            self.put(Queue.PROCESS, Message(f"{message_id}-noise", b"\xff not ours", {}))
        copies = 2 if faults.strikes("message_duplicated") else 1
        for _ in range(copies):
            self._send(Message(message_id, body, dict(headers)))
        await faults.after("published")
        if faults.strikes("publish_confirm_late"):
            await asyncio.sleep(faults.random.random() * 40)
        if faults.strikes("publish_confirm_lost"):
            raise BrokerUnavailable("simulated: no confirm")
        assert self.database is not None
        self.database.confirmed.add(message_id)

    def _send(self, message: Message) -> None:
        if self.faults.strikes("message_lost"):
            self.trace(f"lost {message.message_id}")
        elif self.faults.strikes("message_dead_lettered"):
            message.reason = "delivery_limit"
            self.put(Queue.DEAD, message)
        elif self.faults.strikes("message_delayed"):
            delay = self.faults.random.random() * 30
            asyncio.get_running_loop().call_later(delay, self.put, Queue.PROCESS, message)
        else:
            front = self.faults.strikes("message_reordered")
            self.put(Queue.PROCESS, message, front=front)

    async def consume(self, queue: Queue, *, prefetch: int) -> "SimulatedConsumer":
        consumer = SimulatedConsumer(self, queue, prefetch)
        self.consumers[consumer] = None
        return consumer

    def lose_queue(self) -> None:
        """All of PROCESS is gone, and every connection with it."""
        for consumer in list(self.consumers):
            consumer.drop()
        self.queues[Queue.PROCESS].clear()

    def lose_process(self, process: Process) -> None:
        """The broker notices that the process is gone."""
        for consumer in list(self.consumers):
            assert isinstance(consumer, SimulatedConsumer)
            if consumer.process is process:
                del self.consumers[consumer]
                consumer.drop()


class SimulatedConsumer(MemoryConsumer):
    def __init__(self, broker: SimulatedBroker, queue: Queue, prefetch: int) -> None:
        super().__init__(broker, queue, prefetch)
        self.simulated = broker
        self.process = current_process.get()
        self.deaf = False
        self.in_hand: list[SimulatedDelivery] = []

    async def receive(self) -> "SimulatedDelivery":
        while True:
            plain = await super().receive()
            if self.deaf or self.simulated.outages.broker:
                self.unacked.pop(plain)
                self.simulated.put(self.queue, plain.message, front=True)
                await asyncio.sleep(1.0)
                continue
            delivery = SimulatedDelivery(self, plain.message)
            self.unacked.pop(plain)
            self.unacked[delivery] = None
            self.in_hand.append(delivery)
            return delivery

    async def reconnect(self) -> None:
        self.deaf = False
        await super().reconnect()


class SimulatedDelivery(MemoryDelivery):
    def __init__(self, consumer: SimulatedConsumer, message: Message) -> None:
        super().__init__(consumer, message)
        self._simulated = consumer

    async def ack(self) -> None:
        broker, consumer = self._simulated.simulated, self._simulated
        if consumer.queue is Queue.PROCESS:
            self._check()
        if self in consumer.in_hand:
            consumer.in_hand.remove(self)
        await asyncio.sleep(broker.faults.random.random() * 0.01)
        if broker.faults.strikes("ack_lost"):
            consumer.drop()
        await super().ack()
        await broker.faults.after("acked")

    def _check(self) -> None:
        broker, consumer = self._simulated.simulated, self._simulated
        assert broker.database is not None
        media_id = _media_id(self)
        media = broker.database.tables.media.get(media_id) if media_id else None
        others = sum(
            _media_id(other) == media_id for other in consumer.in_hand if other is not self
        )
        broker.checks.acked(media, broker.workers.get(consumer.process), others)


def _media_id(delivery: MemoryDelivery) -> str | None:
    try:
        return decode(delivery.body, delivery.headers).media_id
    except MalformedMessage:
        return None


class SimulatedStore(MemoryStore):
    """Fails before or after it wrote."""

    def __init__(
        self, clock: Callable[[], datetime], faults: Faults, outages: Outages, checks: Checks
    ) -> None:
        super().__init__(clock)
        self._faults = faults
        self._outages = outages
        self._checks = checks

    def etags(self) -> dict[str, str]:
        return {key: one.etag for key, one in self.objects.items()}

    async def download(self, key: str, *, etag: str, to: Path, max_bytes: int) -> Downloaded:
        await self._answer()
        downloaded = await super().download(key, etag=etag, to=to, max_bytes=max_bytes)
        await self._faults.after("downloaded")
        return downloaded

    async def upload(self, key: str, source: Path, *, content_type: str) -> None:
        await self._answer()
        self._checks.object_changed(key)
        await super().upload(key, source, content_type=content_type)
        await self._faults.after("variant stored")
        if self._faults.strikes("store_written_but_failed"):
            raise StoreUnavailable("simulated: written, but not answered")

    async def list_keys(self, prefix: str) -> Sequence[str]:
        await self._answer()
        return await super().list_keys(prefix)

    async def delete(self, keys: Sequence[str]) -> None:
        await self._answer()
        for key in keys:
            self._checks.object_changed(key)
        await super().delete(keys)

    async def _answer(self) -> None:
        await asyncio.sleep(self._faults.random.random() * 0.05)
        if self._outages.store or self._faults.strikes("store_failed"):
            raise StoreUnavailable("simulated")


class SimulatedEngine(MemoryEngine):
    """Takes a while, at times longer than a lease, and at times dies on an innocent photo."""

    def __init__(self, faults: Faults, *, slow_seconds: float) -> None:
        super().__init__(seconds=0.05)
        self._faults = faults
        self._slow_seconds = slow_seconds

    async def render(self, job: RenderJob, on_variant: Callable[[RenderedFile], None]) -> Rendering:
        await asyncio.sleep(self._faults.random.random() * 8)
        if self._faults.strikes("decoding_slow"):
            await asyncio.sleep(self._faults.random.random() * self._slow_seconds)
        if self._faults.strikes("engine_failed"):
            raise ProcessingFailed(FailureCode.DECODE_OUT_OF_MEMORY, "simulated")
        rendering = await super().render(job, on_variant)
        await self._faults.after("rendered")
        return rendering


class SimulatedScratch(Scratch):
    """Folders below one that is removed when the run is over."""

    def __init__(self, root: Path) -> None:
        self._root = root

    @asynccontextmanager
    async def folder(self) -> AsyncGenerator[Path]:
        folder = Path(tempfile.mkdtemp(dir=self._root))
        yield folder
        shutil.rmtree(folder, ignore_errors=True)
