"""The use cases on the memory set, with a clock that tests turn by hand."""

import asyncio
import hashlib
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

from adapters.memory.broker import MemoryBroker
from adapters.memory.database import MemoryDatabase
from adapters.memory.engine import MemoryEngine
from adapters.memory.store import MemoryStore
from adapters.system import TempScratch
from application.complete_upload import CompleteUpload, Completion
from application.expire_uploads import ExpireUploads
from application.make_variants import MakeVariants
from application.messages import ProcessRequest, decode
from application.ports import Ids, Queue
from application.process_media import Lease, Processed, ProcessMedia
from application.record_dead_letters import RecordDeadLetters
from application.recover_leases import RecoverLeases
from application.relay_outbox import RelayOutbox
from application.reprocess_media import ReprocessMedia
from application.request_upload import RequestUpload, UploadTerms, UploadTicket
from application.requeue_silent import RequeueSilent
from application.sweep_objects import SweepObjects
from domain.media import Media
from domain.recipe import default_recipe
from domain.retry_policy import RetryPolicy
from tests.support.builders import LEASE_SECONDS, NOW, TRACEPARENT, ulid

MAX_BYTES = 1_000_000
PHOTO = b"a photo"
ROUNDS = 20


class ManualClock:
    """Stands still until a test moves it."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> datetime:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


class CountingIds(Ids):
    """Media ids in order; a fraction that tests choose."""

    def __init__(self) -> None:
        self.next = 1
        self.chosen_fraction = 0.5

    def media_id(self) -> str:
        self.next += 1
        return ulid(self.next - 1)

    def fraction(self) -> float:
        return self.chosen_fraction


@dataclass(kw_only=True)
class Pipeline:
    """Everything between a client and a finished photo, in one place."""

    root: Path
    policy: RetryPolicy = field(default_factory=RetryPolicy)
    clock: ManualClock = field(default_factory=ManualClock)
    ids: CountingIds = field(default_factory=CountingIds)
    engine: MemoryEngine = field(default_factory=MemoryEngine)
    broker: MemoryBroker = field(default_factory=MemoryBroker)
    defects: list[tuple[str, Exception]] = field(default_factory=list[tuple[str, Exception]])

    def __post_init__(self) -> None:
        self.database = MemoryDatabase(self.clock)
        self.store = MemoryStore(self.clock)
        self.scratch = TempScratch(self.root)
        self.stopping = asyncio.Event()
        database, ids, policy = self.database, self.ids, self.policy
        terms = UploadTerms(max_bytes=MAX_BYTES, link_seconds=900)
        self.request_upload = RequestUpload(
            database=database, signer=self.store, ids=ids, terms=terms
        )
        self.complete_upload = CompleteUpload(
            database=database, store=self.store, policy=policy, max_bytes=MAX_BYTES
        )
        self.relay_outbox = RelayOutbox(relay=database.relay, publisher=self.broker)
        self.recover_leases = RecoverLeases(
            database=database, policy=policy, lease_seconds=LEASE_SECONDS
        )
        self.requeue_silent = RequeueSilent(
            database=database, overview=database.overview, policy=policy
        )
        self.expire_uploads = ExpireUploads(database=database)
        self.sweep_objects = SweepObjects(database=database, store=self.store)
        self.reprocess_media = ReprocessMedia(database=database, policy=policy)
        self.record_dead_letters = RecordDeadLetters(database=database, policy=policy)

    def worker(self, worker_id: str = "worker-1") -> ProcessMedia:
        """A process's own ProcessMedia."""
        return ProcessMedia(
            database=self.database,
            store=self.store,
            make_variants=MakeVariants(
                store=self.store,
                engine=self.engine,
                scratch=self.scratch,
                recipe=default_recipe(),
                max_bytes=MAX_BYTES,
            ),
            ids=self.ids,
            policy=self.policy,
            lease=Lease(worker_id=worker_id, seconds=LEASE_SECONDS),
            on_defect=lambda media_id, error: self.defects.append((media_id, error)),
        )

    async def ticket(self, body: bytes | None = PHOTO) -> UploadTicket:
        """A media whose photo, unless None, has been PUT."""
        ticket = await self.request_upload(content_type="image/jpeg", file_name="test.jpg")
        if body is not None:
            self.store.put(ticket.url, body, ticket.headers)
        return ticket

    async def accepted(self, body: bytes = PHOTO) -> Media:
        """A media that is UPLOADED."""
        ticket = await self.ticket(body)
        return (await self.complete(ticket)).media

    async def complete(self, ticket: UploadTicket) -> Completion:
        media = ticket.media
        return await self.complete_upload(
            media_id=media.id, original_key=media.original_key, traceparent=TRACEPARENT
        )

    async def process(self, media: Media, worker: ProcessMedia | None = None) -> Processed:
        request = ProcessRequest(media.id, media.lease_token, media.traceparent)
        return await (worker or self.worker())(request, self.stopping)

    async def watch_leases(self, seconds: float) -> int:
        """The sweeper's rounds while `seconds` pass; how many leases it found lost."""
        lost = await self.recover_leases()
        for _ in range(ROUNDS):
            self.clock.advance(seconds / ROUNDS)
            lost += await self.recover_leases()
        return lost

    async def media(self, media_id: str) -> Media:
        async with self.database.begin() as uow:
            found = await uow.media.get(media_id)
        assert found is not None
        return found

    def sent(self) -> list[ProcessRequest]:
        """The requests that lie in the work queue."""
        return [decode(m.body, m.headers) for m in self.broker.queues[Queue.PROCESS]]

    def keys(self) -> list[str]:
        return sorted(self.store.objects)


@asynccontextmanager
async def pipeline_at(root: Path) -> AsyncGenerator[Pipeline]:
    """A pipeline; afterwards nothing is open and no file is left."""
    pipeline = Pipeline(root=root)
    yield pipeline
    assert pipeline.database.open_transactions == 0
    await pipeline.scratch.close()
    assert list(root.iterdir()) == []


def sha256(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()
