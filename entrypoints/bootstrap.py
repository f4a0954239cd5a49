"""The composition root: which adapters stand behind the ports, and what observes them."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import cast
from urllib.parse import unquote, urlsplit

from litestar.types import ASGIApp

from adapters.events import get_logger
from adapters.filesystem import FilesystemStore, load_or_create_secret
from adapters.minio import MinioStore
from adapters.opentelemetry import (
    MessageTelemetry,
    ObservedCompleteUpload,
    ObservedDatabase,
    ObservedDependency,
    ObservedEngine,
    ObservedHTTP,
    ObservedPublisher,
    ObservedStore,
    Telemetry,
    current_traceparent,
)
from adapters.opentelemetry.instruments import POOL_IN_USE, POOL_SIZE
from adapters.opentelemetry.libraries import instrument_libraries
from adapters.pillow.engine import PillowEngine
from adapters.postgres.database import PostgresDatabase
from adapters.rabbitmq import RabbitBroker
from adapters.sandbox.engine import SandboxedEngine
from adapters.sandbox.limits import EngineLimits
from adapters.sqlite import SqliteBroker, SqliteDatabase
from adapters.system import SystemIds, TempScratch, random_bytes, utc_now
from adapters.vips.engine import VipsEngine
from application.complete_upload import CompleteUpload
from application.expire_uploads import ExpireUploads
from application.get_media import GetMedia
from application.make_variants import MakeVariants
from application.ports import (
    Broker,
    Database,
    Dependency,
    ObjectStore,
    OutboxHint,
    OutboxRelay,
    Overview,
    Publisher,
    UrlSigner,
)
from application.process_media import Lease, ProcessMedia
from application.record_dead_letters import RecordDeadLetters
from application.recover_leases import RecoverLeases
from application.relay_outbox import RelayOutbox
from application.request_upload import RequestUpload, UploadTerms
from application.requeue_silent import RequeueSilent
from application.sweep_objects import SweepObjects
from entrypoints.api.app import ApiParts
from entrypoints.dispatcher import Dispatcher, DispatcherParts
from entrypoints.settings import Engine, Settings
from entrypoints.worker import Worker, WorkerLimits

# Neither imports its image library: that is loaded by the processes that decode.
ENGINES = {Engine.PILLOW: PillowEngine, Engine.VIPS: VipsEngine}
VERSION = version("image-pipeline")
log = get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class AdapterSet:
    """Everything behind the ports, in one of its kinds; already observed by telemetry."""

    database: Database
    relay: OutboxRelay
    hint: OutboxHint
    overview: Overview
    broker: Broker
    publisher: Publisher
    store: ObjectStore
    signer: UrlSigner
    ids: SystemIds
    messaging_system: str
    database_dependency: Dependency
    broker_dependency: Dependency
    store_dependency: Dependency
    objects: FilesystemStore | None = None

    @property
    def dependencies(self) -> Sequence[Dependency]:
        return (self.database_dependency, self.broker_dependency, self.store_dependency)


@asynccontextmanager
async def production_set(settings: Settings, telemetry: Telemetry) -> AsyncGenerator[AdapterSet]:
    """PostgreSQL, RabbitMQ and MinIO. Servers that are down are no error yet."""
    ids = SystemIds()
    metrics, tracing = telemetry.metrics, telemetry.tracing
    instrument_libraries(telemetry.library_tracers)
    async with AsyncExitStack() as stack:
        database = await PostgresDatabase.connect(
            settings.database_url, pool_size=settings.database_pool_size, fraction=ids.fraction
        )
        stack.push_async_callback(database.close)
        metrics.watch_value(POOL_IN_USE, lambda: database.connections_in_use)
        metrics.watch_value(POOL_SIZE, lambda: settings.database_pool_size)
        broker = RabbitBroker(settings.rabbitmq_url, fraction=ids.fraction)
        stack.push_async_callback(broker.close)
        store = make_store(settings)
        await store.open()
        stack.push_async_callback(store.close)
        yield AdapterSet(
            database=ObservedDatabase(database, metrics, tracing),
            relay=database.relay,
            hint=database.hint,
            overview=database.overview,
            broker=broker,
            publisher=ObservedPublisher(broker, metrics, tracing),
            store=ObservedStore(store, metrics, tracing),
            signer=store,
            ids=ids,
            messaging_system="rabbitmq",
            database_dependency=ObservedDependency(database.dependency, metrics),
            broker_dependency=ObservedDependency(broker, metrics),
            store_dependency=ObservedDependency(store, metrics),
        )


@asynccontextmanager
async def embedded_set(
    settings: Settings, telemetry: Telemetry, public_url: str
) -> AsyncGenerator[AdapterSet]:
    """SQLite and files below `settings.data_dir`; links lead to `public_url`."""
    ids = SystemIds()
    metrics, tracing = telemetry.metrics, telemetry.tracing
    root = settings.data_dir
    root.mkdir(parents=True, exist_ok=True)
    async with AsyncExitStack() as stack:
        database = await SqliteDatabase.open(root / "pipeline.db")
        stack.push_async_callback(database.close)
        broker = await SqliteBroker.open(root / "queue.db")
        stack.push_async_callback(broker.close)
        store = FilesystemStore(
            root / "objects",
            public_url,
            load_or_create_secret(root / "secret", random_bytes),
            clock=utc_now,
            max_bytes=settings.max_upload_bytes,
        )
        await store.open()
        yield AdapterSet(
            database=ObservedDatabase(database, metrics, tracing, system="sqlite"),
            relay=database.relay,
            hint=database.hint,
            overview=database.overview,
            broker=broker,
            publisher=ObservedPublisher(broker, metrics, tracing, system="sqlite"),
            store=ObservedStore(store, metrics, tracing),
            signer=store,
            ids=ids,
            messaging_system="sqlite",
            database_dependency=ObservedDependency(database.dependency, metrics),
            broker_dependency=ObservedDependency(broker, metrics),
            store_dependency=ObservedDependency(store, metrics),
            objects=store,
        )


def make_store(settings: Settings) -> MinioStore:
    """The production set's object store, not yet opened."""
    return MinioStore(
        settings.minio_endpoint,
        settings.store_url,
        settings.minio_access_key,
        settings.minio_secret_key,
        settings.minio_bucket,
        clock=utc_now,
        region=settings.minio_region,
    )


def make_api(settings: Settings, telemetry: Telemetry, adapters: AdapterSet) -> ApiParts:
    """What the HTTP application needs. It does its work without the broker."""
    complete = CompleteUpload(
        database=adapters.database,
        store=adapters.store,
        policy=settings.retry_policy(),
        max_bytes=settings.max_upload_bytes,
    )
    terms = UploadTerms(
        max_bytes=settings.max_upload_bytes, link_seconds=settings.upload_link_seconds
    )
    metrics, tracing = telemetry.metrics, telemetry.tracing
    return ApiParts(
        request_upload=RequestUpload(
            database=adapters.database, signer=adapters.signer, ids=adapters.ids, terms=terms
        ),
        complete_upload=ObservedCompleteUpload(complete, metrics, tracing),
        get_media=GetMedia(database=adapters.database),
        signer=adapters.signer,
        attempts_max=settings.attempts_max,
        download_seconds=settings.download_link_seconds,
        clock=utc_now,
        dependencies=(adapters.database_dependency, adapters.store_dependency),
        metrics=telemetry.render_metrics,
        current_traceparent=current_traceparent,
        cors_origins=settings.allowed_origins,
        objects=adapters.objects,
        middleware=lambda app: cast("ASGIApp", ObservedHTTP(app, metrics, tracing)),
    )


def make_engine(settings: Settings) -> SandboxedEngine:
    """The image engine that the settings choose."""
    limits = EngineLimits(
        max_bytes=settings.max_upload_bytes,
        max_pixels=settings.max_pixels,
        wall_seconds=settings.decode_timeout_seconds,
        memory_budget_bytes=settings.worker_memory_bytes,
        concurrency=settings.worker_concurrency,
    )
    return ENGINES[settings.image_engine](limits)


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerParts:
    """A worker and what has to be opened and closed around it."""

    worker: Worker
    engine: SandboxedEngine
    scratch: TempScratch

    @asynccontextmanager
    async def opened(self) -> AsyncGenerator[Worker]:
        """Scratch folders of dead workers are gone, the engine is warm."""
        await self.scratch.sweep_leftovers()
        await self.engine.open()
        try:
            yield self.worker
        finally:
            await self.engine.close()
            await self.scratch.close()


def make_worker(
    settings: Settings, telemetry: Telemetry, adapters: AdapterSet, worker_id: str
) -> WorkerParts:
    """A worker with an image engine of its own."""
    metrics, tracing = telemetry.metrics, telemetry.tracing
    engine = make_engine(settings)
    scratch = TempScratch(Path(settings.scratch_dir) if settings.scratch_dir else None)
    process = ProcessMedia(
        database=adapters.database,
        store=adapters.store,
        make_variants=MakeVariants(
            store=adapters.store,
            engine=ObservedEngine(engine, metrics, tracing),
            scratch=scratch,
            recipe=settings.image_recipe(),
            max_bytes=settings.max_upload_bytes,
        ),
        ids=adapters.ids,
        policy=settings.retry_policy(),
        lease=Lease(worker_id=worker_id, seconds=settings.lease_seconds),
        on_defect=lambda media_id, error: log.error(
            "attempt_crashed", error=error, media_id=media_id
        ),
    )
    worker = Worker(
        broker=adapters.broker,
        overview=adapters.overview,
        process=process,
        ids=adapters.ids,
        limits=WorkerLimits(
            concurrency=settings.worker_concurrency, grace_seconds=settings.grace_seconds
        ),
        observer=MessageTelemetry(metrics, tracing, system=adapters.messaging_system),
    )
    return WorkerParts(worker=worker, engine=engine, scratch=scratch)


def make_dispatcher(settings: Settings, adapters: AdapterSet) -> Dispatcher:
    """A dispatcher over the set."""
    database, ids, policy = adapters.database, adapters.ids, settings.retry_policy()
    parts = DispatcherParts(
        relay=adapters.relay,
        hint=adapters.hint,
        broker=adapters.broker,
        ids=ids,
        relay_outbox=RelayOutbox(
            relay=adapters.relay,
            publisher=adapters.publisher,
            hold_seconds=settings.lease_seconds,
        ),
        recover_leases=RecoverLeases(
            database=database, policy=policy, lease_seconds=settings.lease_seconds
        ),
        requeue_silent=RequeueSilent(database=database, overview=adapters.overview, policy=policy),
        expire_uploads=ExpireUploads(database=database),
        sweep_objects=SweepObjects(database=database, store=adapters.store),
        record_dead_letters=RecordDeadLetters(database=database, policy=policy),
        lease_seconds=settings.lease_seconds,
    )
    return Dispatcher(parts)


def secrets_of(settings: Settings) -> list[str]:
    """What no log line may ever show; passwords both as the URL spells them and as they are."""
    urls = (settings.database_url, settings.rabbitmq_url)
    spelled = [password for url in urls if (password := urlsplit(url).password)]
    plain = [unquote(password) for password in spelled]
    return [text for text in (*spelled, *plain, settings.minio_secret_key) if text]
