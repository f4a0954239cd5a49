"""The three sets of adapters behind the ports, fresh and empty for each test.

Tests know ports only: what a set is made of, how it is emptied and how a client reaches its
store is said here and nowhere else. Leaving a set asserts that it has let go of everything.
"""

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit, urlunsplit

from adapters.filesystem import FilesystemStore
from adapters.memory.broker import MemoryBroker
from adapters.memory.database import MemoryDatabase
from adapters.memory.store import MemoryStore
from adapters.minio import MinioStore
from adapters.postgres.connections import connect_alone
from adapters.postgres.database import PostgresDatabase
from adapters.postgres.migrations import migrate
from adapters.rabbitmq import RabbitBroker
from adapters.sqlite import SqliteBroker, SqliteDatabase
from adapters.system import SystemIds, TempScratch, utc_now
from application.ports import (
    Broker,
    Database,
    Dependency,
    Ids,
    ObjectStore,
    OutboxHint,
    OutboxRelay,
    Overview,
    Publisher,
    Queue,
    Scratch,
    UrlSigner,
)
from tests.support.clients import FilesystemClient, HttpClient, MemoryClient, StoreClient
from tests.support.leaks import no_leaks
from tests.support.rabbitmq import admin, fresh_topology
from tests.support.services import Services

SetName = Literal["memory", "embedded", "production"]
SET_NAMES: tuple[SetName, ...] = ("memory", "embedded", "production")
POOL_SIZE = 4
PUBLIC_URL = "http://localhost:8080"
SECRET = b"a secret of 32 bytes, or of more"
UPLOAD_BYTES_MAX = 50 * 1024 * 1024


@dataclass(frozen=True, kw_only=True)
class DatabasePorts:
    """`in_use` counts what transactions hold at this moment: 0 between tests."""

    database: Database
    relay: OutboxRelay
    hint: OutboxHint
    overview: Overview
    dependency: Dependency
    in_use: Callable[[], int]


@dataclass(frozen=True, kw_only=True)
class BrokerPorts:
    """`unroute` takes the queues away; None where a set cannot be without them."""

    broker: Broker
    publisher: Publisher
    dependency: Dependency
    unroute: Callable[[], Awaitable[None]] | None


@dataclass(frozen=True, kw_only=True)
class StorePorts:
    """`client` is what a browser does with a link."""

    store: ObjectStore
    signer: UrlSigner
    client: StoreClient
    dependency: Dependency


@dataclass(frozen=True, kw_only=True)
class PipelineSet:
    """Every port of one set."""

    name: SetName
    databases: DatabasePorts
    brokers: BrokerPorts
    stores: StorePorts
    ids: Ids
    scratch: Scratch


class Sets:
    """Opens the parts of a set. `folder` is empty and belongs to one test."""

    def __init__(self, services: Services, folder: Path) -> None:
        self._services = services
        self._folder = folder
        self._ids = SystemIds()

    @asynccontextmanager
    async def open(self, name: SetName) -> AsyncGenerator[PipelineSet]:
        """All of it."""
        async with (
            no_leaks(),
            self._database(name) as databases,
            self._broker(name) as brokers,
            self._store(name) as stores,
            self._scratch() as scratch,
        ):
            yield PipelineSet(
                name=name,
                databases=databases,
                brokers=brokers,
                stores=stores,
                ids=self._ids,
                scratch=scratch,
            )

    @asynccontextmanager
    async def database(self, name: SetName) -> AsyncGenerator[DatabasePorts]:
        async with no_leaks(), self._database(name) as ports:
            yield ports

    @asynccontextmanager
    async def broker(self, name: SetName) -> AsyncGenerator[BrokerPorts]:
        async with no_leaks(), self._broker(name) as ports:
            yield ports

    @asynccontextmanager
    async def store(self, name: SetName) -> AsyncGenerator[StorePorts]:
        async with no_leaks(), self._store(name) as ports:
            yield ports

    # --- the parts -----------------------------------------------------------------------------

    @asynccontextmanager
    async def _scratch(self) -> AsyncGenerator[TempScratch]:
        root = self._folder / "scratch"
        scratch = TempScratch(root)
        yield scratch
        await scratch.close()
        assert list(root.glob("**/*")) == [], "a temporary file is left"

    @asynccontextmanager
    async def _database(self, name: SetName) -> AsyncGenerator[DatabasePorts]:
        openers = {
            "memory": self._memory_database,
            "embedded": self._sqlite_database,
            "production": self._postgres_database,
        }
        async with openers[name]() as ports:
            yield ports
            assert ports.in_use() == 0, "a transaction is still open"
            await ports.dependency.check()

    def _broker(self, name: SetName) -> AbstractAsyncContextManager[BrokerPorts]:
        openers = {
            "memory": self._memory_broker,
            "embedded": self._sqlite_broker,
            "production": self._rabbit_broker,
        }
        return openers[name]()

    @asynccontextmanager
    async def _store(self, name: SetName) -> AsyncGenerator[StorePorts]:
        openers = {
            "memory": self._memory_store,
            "embedded": self._filesystem_store,
            "production": self._minio_store,
        }
        async with openers[name]() as ports:
            yield ports
            await ports.dependency.check()

    # --- memory --------------------------------------------------------------------------------

    @asynccontextmanager
    async def _memory_database(self) -> AsyncGenerator[DatabasePorts]:
        database = MemoryDatabase(utc_now)
        yield _database_ports(database, database, lambda: database.open_transactions)

    @asynccontextmanager
    async def _memory_broker(self) -> AsyncGenerator[BrokerPorts]:
        broker = MemoryBroker()

        async def unroute() -> None:
            broker.remove_queues()

        yield BrokerPorts(broker=broker, publisher=broker, dependency=broker, unroute=unroute)
        assert not broker.consumers, "a consumer was not closed"

    @asynccontextmanager
    async def _memory_store(self) -> AsyncGenerator[StorePorts]:
        store = MemoryStore(utc_now)
        yield _store_ports(store, MemoryClient(store))

    # --- embedded ------------------------------------------------------------------------------

    @asynccontextmanager
    async def _sqlite_database(self) -> AsyncGenerator[DatabasePorts]:
        database = await SqliteDatabase.open(self._folder / "pipeline.db")
        try:
            yield _database_ports(database, database.dependency, lambda: 0)
        finally:
            await database.close()

    @asynccontextmanager
    async def _sqlite_broker(self) -> AsyncGenerator[BrokerPorts]:
        broker = await SqliteBroker.open(self._folder / "queue.db")
        try:
            yield BrokerPorts(broker=broker, publisher=broker, dependency=broker, unroute=None)
        finally:
            await broker.close()

    @asynccontextmanager
    async def _filesystem_store(self) -> AsyncGenerator[StorePorts]:
        root = self._folder / "objects"
        store = FilesystemStore(root, PUBLIC_URL, SECRET, clock=utc_now, max_bytes=UPLOAD_BYTES_MAX)
        await store.open()
        yield _store_ports(store, FilesystemClient(store))
        assert unfinished_uploads(root) == []

    # --- production ----------------------------------------------------------------------------

    @asynccontextmanager
    async def _postgres_database(self) -> AsyncGenerator[DatabasePorts]:
        async with fresh_database(self._services.postgres_url()) as url:
            await migrate(url)
            database = await PostgresDatabase.connect(url, pool_size=POOL_SIZE)
            try:
                yield _database_ports(
                    database, database.dependency, lambda: database.connections_in_use
                )
            finally:
                await database.close()

    @asynccontextmanager
    async def _rabbit_broker(self) -> AsyncGenerator[BrokerPorts]:
        url = self._services.rabbitmq_url()
        await fresh_topology(url)
        broker = RabbitBroker(url, fraction=self._ids.fraction)
        try:
            yield BrokerPorts(
                broker=broker,
                publisher=broker,
                dependency=broker,
                unroute=lambda: delete_queues(url),
            )
        finally:
            await broker.close()

    @asynccontextmanager
    async def _minio_store(self) -> AsyncGenerator[StorePorts]:
        access = self._services.minio()
        store = MinioStore(
            access.endpoint,
            access.endpoint,
            access.access_key,
            access.secret_key,
            f"test-{self._ids.media_id().lower()}",
            clock=utc_now,
        )
        await store.open()
        try:
            await store.create_bucket()
            yield _store_ports(store, HttpClient())
            await store.delete(await store.list_keys(""))
        finally:
            await store.close()


@asynccontextmanager
async def fresh_database(url: str) -> AsyncGenerator[str]:
    """The URL of an empty PostgreSQL database; a connection that is left at the end is an error."""
    name = f"test-{SystemIds().media_id().lower()}"
    await _administer(url, f'CREATE DATABASE "{name}"')
    try:
        yield urlunsplit(urlsplit(url)._replace(path=f"/{name}"))
    except BaseException:
        await _administer(url, f'DROP DATABASE "{name}" WITH (FORCE)')
        raise
    await _administer(url, f'DROP DATABASE "{name}"')


async def _administer(url: str, statement: str) -> None:
    """On a connection of its own: a test may have killed the server meanwhile."""
    server = await connect_alone(url, seconds=5.0)
    try:
        await server.execute(statement)
    finally:
        server.terminate()


async def delete_queues(url: str) -> None:
    """Leave the exchange with nothing behind it, so that a publish is returned."""
    async with admin(url) as channel:
        for queue in Queue:
            await channel.queue_delete(queue.value)


def unfinished_uploads(root: Path) -> list[Path]:
    """Temporary files of a filesystem store."""
    return list((root / "incoming").iterdir())


def _database_ports(
    database: MemoryDatabase | SqliteDatabase | PostgresDatabase,
    dependency: Dependency,
    in_use: Callable[[], int],
) -> DatabasePorts:
    return DatabasePorts(
        database=database,
        relay=database.relay,
        hint=database.hint,
        overview=database.overview,
        dependency=dependency,
        in_use=in_use,
    )


def _store_ports(
    store: MemoryStore | FilesystemStore | MinioStore, client: StoreClient
) -> StorePorts:
    return StorePorts(store=store, signer=store, client=client, dependency=store)
