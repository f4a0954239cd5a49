"""The whole product as its operator runs it: real processes, on either set, watched from outside.

Tests speak to it by HTTP as clients do. What they may not see that way (which objects the store
holds, what still waits) they ask of the set's own ports, through connections of their own.
"""

import asyncio
import secrets
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

import aiohttp

from adapters.filesystem import FilesystemStore
from adapters.minio import MinioStore
from adapters.postgres.database import PostgresDatabase
from adapters.rabbitmq import RabbitBroker
from adapters.sqlite import SqliteBroker, SqliteDatabase
from adapters.system import SystemIds, utc_now
from application.messages import ProcessRequest, encode
from application.ports import Database, ObjectStore, Overview, Publisher
from entrypoints.client import PipelineClient
from tests.support.process import free_port
from tests.support.product import ProductProcess, run_once
from tests.support.rabbitmq import fresh_topology, remove_topology
from tests.support.services import MinioAccess, Services
from tests.support.sets import fresh_database

SystemName = Literal["embedded", "production"]
SYSTEM_NAMES: tuple[SystemName, ...] = ("embedded", "production")
LEASE_SECONDS = 3.0
# Everything that is a matter of waiting is short, so that tests see it happen.
QUICK: Mapping[str, str] = {
    "LEASE_SECONDS": str(LEASE_SECONDS),
    "RETRY_BASE_SECONDS": "0.5",
    "RETRY_CAP_SECONDS": "2",
    "REQUEUE_SECONDS": "5",
    "SWEEP_SECONDS": "1",
    "GRACE_SECONDS": "5",
    "WORKER_CONCURRENCY": "1",
    "LOG_FORMAT": "json",
    "API_HOST": "127.0.0.1",
}


@dataclass(frozen=True)
class Servers:
    """How the product, or a test, reaches what the production set stands on."""

    database_url: str
    rabbitmq_url: str
    minio: MinioAccess
    bucket: str = "media"

    def environment(self) -> dict[str, str]:
        return {
            "DATABASE_URL": self.database_url,
            "RABBITMQ_URL": self.rabbitmq_url,
            "MINIO_ENDPOINT": self.minio.endpoint,
            "MINIO_ACCESS_KEY": self.minio.access_key,
            "MINIO_SECRET_KEY": self.minio.secret_key,
            "MINIO_BUCKET": self.bucket,
        }


@dataclass(frozen=True, kw_only=True)
class Inside:
    """What a test may look at behind the product's back. `publisher` is opened for each use."""

    database: Database
    overview: Overview
    store: ObjectStore
    publisher: Callable[[], AbstractAsyncContextManager[Publisher]]


@dataclass(kw_only=True)
class System:
    """Running processes, the client in front of them and what is behind them."""

    name: SystemName
    url: str
    folder: Path
    session: aiohttp.ClientSession
    processes: dict[str, ProductProcess]
    inside: Inside
    environment: Mapping[str, str]
    deaths: list[tuple[str, int | None]] = field(
        default_factory=list[tuple[str, int | None]], init=False
    )

    def client(self, *, patience_seconds: float = 60.0) -> PipelineClient:
        return PipelineClient(self.url, self.session, patience_seconds=patience_seconds)

    @property
    def secrets(self) -> list[str]:
        """What nobody may ever read in a log."""
        password = urlsplit(self.environment.get("RABBITMQ_URL", "")).netloc.rpartition("@")[0]
        return [s for s in (self.environment.get("MINIO_SECRET_KEY"), password) if s]

    @property
    def api(self) -> ProductProcess:
        return self.of_role("api", "embedded")[0]

    @property
    def dispatcher(self) -> ProductProcess:
        return self.of_role("dispatcher", "embedded")[0]

    @property
    def workers(self) -> list[ProductProcess]:
        return self.of_role("worker", "embedded")

    def of_role(self, *roles: str) -> list[ProductProcess]:
        return [process for process in self.processes.values() if process.role in roles]

    async def publish(self, request: ProcessRequest, *, times: int = 1) -> None:
        """Work orders as the dispatcher sends them, in addition to its own."""
        body, headers = encode(request)
        await self.publish_raw(*[(body, headers)] * times)

    async def publish_raw(self, *messages: tuple[bytes, Mapping[str, str]]) -> None:
        """Whatever a stranger with access to the broker might send."""
        async with self.inside.publisher() as publisher:
            for body, headers in messages:
                await publisher.publish(f"test-{secrets.token_hex(8)}", body, headers)

    @asynccontextmanager
    async def supervised(self) -> AsyncGenerator[None]:
        """Processes that die are started again at once, as a container runtime does.

        `deaths` tells who died, and with which exit code.
        """
        watching = asyncio.create_task(self._restart_for_ever())
        try:
            yield
        finally:
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)

    async def whole(self) -> None:
        """Wait until every process is ready, however often it is started until then."""
        for process in self.processes.values():
            await process.ready(supervised=True)

    async def _restart_for_ever(self) -> None:
        while True:
            for name, process in self.processes.items():
                if process.wanted and not process.running:
                    self.deaths.append((name, process.exit_code))
                    process.start()
            await asyncio.sleep(0.05)


@asynccontextmanager
async def running(
    name: SystemName,
    services: Services,
    folder: Path,
    *,
    workers: int = 1,
    settings: Mapping[str, str] | None = None,
    servers: Servers | None = None,
    through: Callable[[Servers], Servers] = lambda servers: servers,
) -> AsyncGenerator[System]:
    """The product on fresh servers or an empty folder, ready; ended and removed at the end.

    `servers` are used instead of those of the test run; `through` answers how the processes (and
    not the test) reach them, such as by way of a proxy.
    """
    given = {**QUICK, "SCRATCH_DIR": str(folder / "scratch"), **(settings or {})}
    async with AsyncExitStack() as stack:
        if name == "embedded":
            given |= {"DATA_DIR": str(folder / "data")}
            roles = {"embedded": "embedded"}
        else:
            servers = await stack.enter_async_context(_fresh(services, servers))
            _migrate(servers, given)
            given |= through(servers).environment()
            given |= {"MINIO_PUBLIC_ENDPOINT": servers.minio.endpoint}
            roles = {"api": "api", "dispatcher": "dispatcher"}
            roles |= {f"worker-{number}": "worker" for number in range(1, workers + 1)}
        processes = {name: make_process(name, role, folder, given) for name, role in roles.items()}
        for process in processes.values():
            stack.callback(process.close)
            process.start()
        front = next(p for p in processes.values() if p.role in ("api", "embedded"))
        for process in processes.values():
            await process.ready()
        yield System(
            name=name,
            url=f"http://127.0.0.1:{front.port}",
            folder=folder,
            session=await stack.enter_async_context(_session()),
            processes=processes,
            inside=await stack.enter_async_context(_inside(servers, folder / "data")),
            environment=given,
        )


def make_process(name: str, role: str, folder: Path, settings: Mapping[str, str]) -> ProductProcess:
    """A process with free ports; `settings` are its whole environment but for the machine's."""
    api, metrics = str(free_port()), str(free_port())
    ports = {"API_PORT": api, "WORKER_METRICS_PORT": metrics, "DISPATCHER_METRICS_PORT": metrics}
    port = api if role in ("api", "embedded") else metrics
    environment = {**machine(folder), **ports, **settings}
    return ProductProcess(role, folder / f"{name}.log", environment, port=int(port))


def machine(folder: Path) -> dict[str, str]:
    """What any process needs of an environment, and nothing of the test run's own."""
    return {"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": str(folder), "LC_ALL": "C.UTF-8"}


# --- servers and what is behind them ---------------------------------------------------------


@asynccontextmanager
async def _fresh(services: Services, servers: Servers | None) -> AsyncGenerator[Servers]:
    """An empty database, empty queues and a bucket that does not exist yet."""
    known = servers or Servers(services.postgres_url(), services.rabbitmq_url(), services.minio())
    await remove_topology(known.rabbitmq_url)
    async with fresh_database(known.database_url) as database_url:
        yield Servers(database_url, known.rabbitmq_url, known.minio, f"test-{secrets.token_hex(8)}")
        await fresh_topology(known.rabbitmq_url)


def _migrate(servers: Servers, settings: Mapping[str, str]) -> None:
    environment = {**machine(Path(settings["SCRATCH_DIR"])), **settings, **servers.environment()}
    done = run_once("migrate", environment)
    assert done.returncode == 0, done.stderr + done.stdout


@asynccontextmanager
async def _inside(servers: Servers | None, data: Path) -> AsyncGenerator[Inside]:
    opener = _embedded(data) if servers is None else _production(servers)
    async with opener as inside:
        yield inside


@asynccontextmanager
async def _production(servers: Servers) -> AsyncGenerator[Inside]:
    database = await PostgresDatabase.connect(servers.database_url, pool_size=2)
    store = MinioStore(
        servers.minio.endpoint,
        servers.minio.endpoint,
        servers.minio.access_key,
        servers.minio.secret_key,
        servers.bucket,
        clock=utc_now,
    )

    @asynccontextmanager
    async def publisher() -> AsyncGenerator[Publisher]:
        broker = RabbitBroker(servers.rabbitmq_url, fraction=SystemIds().fraction)
        try:
            yield broker
        finally:
            await broker.close()

    await store.open()
    try:
        yield Inside(
            database=database, overview=database.overview, store=store, publisher=publisher
        )
        await store.delete(await store.list_keys(""))
    finally:
        await store.close()
        await database.close()


@asynccontextmanager
async def _embedded(data: Path) -> AsyncGenerator[Inside]:
    """Files that the product has open too; the queue only for a moment, because a broker that
    finds itself alone after a crash takes back what the dead one held.
    """
    database = await SqliteDatabase.open(data / "pipeline.db")
    store = FilesystemStore(
        data / "objects", "http://nowhere", secrets.token_bytes(32), clock=utc_now, max_bytes=1
    )

    @asynccontextmanager
    async def publisher() -> AsyncGenerator[Publisher]:
        broker = await SqliteBroker.open(data / "queue.db")
        try:
            yield broker
        finally:
            await broker.close()

    try:
        yield Inside(
            database=database, overview=database.overview, store=store, publisher=publisher
        )
    finally:
        await database.close()


@asynccontextmanager
async def _session() -> AsyncGenerator[aiohttp.ClientSession]:
    """A client that does not wait for ever, and does not keep connections to dead processes."""
    connector = aiohttp.TCPConnector(force_close=True, limit=0)
    timeout = aiohttp.ClientTimeout(total=15.0)
    async with aiohttp.ClientSession(
        connector=connector, timeout=timeout, skip_auto_headers=["Content-Type"]
    ) as session:
        yield session
