"""The real servers and the product's own processes, started for a measurement and ended after it.

Servers are those of the tests: everything that keeps data safe is switched on. The product runs
as its operator runs it, one process a role, with its default settings but for what is named.
"""

import asyncio
import tempfile
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import asyncpg  # pyright: ignore[reportMissingTypeStubs] - partly annotated

from adapters.minio import MinioStore
from adapters.system import utc_now
from benchmarks.cpu import Meter
from benchmarks.process import ROOT, Process, product
from tests.support.process import free_port
from tests.support.rabbitmq import remove_topology
from tests.support.servers import ACCESS_KEY, SECRET_KEY, KnownServer, Minio, Postgres, RabbitMq
from tests.support.sets import fresh_database
from tests.support.systems import machine

BUCKET = "bench"
SETTINGS: Mapping[str, str] = {
    "LOG_FORMAT": "json",
    "API_HOST": "127.0.0.1",
    "WORKER_CONCURRENCY": "1",
}


class _TimedPostgres(Postgres):
    """Keeps the time of every commit, so that latency is read and not polled."""

    def command(self) -> list[str]:
        return [*super().command(), "-c", "track_commit_timestamp=on"]


@dataclass(frozen=True, kw_only=True)
class Servers:
    """PostgreSQL, RabbitMQ and MinIO, once for the whole run."""

    postgres: Postgres
    rabbitmq: RabbitMq
    minio: Minio

    def pids(self) -> dict[str, list[int]]:
        """The process that each server's others descend from."""
        named = {"postgres": self.postgres, "rabbitmq": self.rabbitmq, "minio": self.minio}
        return {name: [_pid(server)] for name, server in named.items()}

    def environment(self, database_url: str) -> dict[str, str]:
        return {
            "DATABASE_URL": database_url,
            "RABBITMQ_URL": self.rabbitmq.url,
            "MINIO_ENDPOINT": self.minio.endpoint,
            "MINIO_ACCESS_KEY": ACCESS_KEY,
            "MINIO_SECRET_KEY": SECRET_KEY,
            "MINIO_BUCKET": BUCKET,
        }

    def store(self) -> MinioStore:
        """A store of the harness's own; to be opened and closed."""
        endpoint = self.minio.endpoint
        return MinioStore(endpoint, endpoint, ACCESS_KEY, SECRET_KEY, BUCKET, clock=utc_now)


@asynccontextmanager
async def servers() -> AsyncGenerator[Servers]:
    """All three, ready; ended and removed at the end."""
    kinds: Sequence[type[KnownServer]] = (_TimedPostgres, RabbitMq, Minio)
    if missing := [kind for kind in kinds if kind.find() is None]:
        raise SystemExit("\n".join(f"{k.name} is not here: {k.how_to_get}" for k in missing))
    postgres, rabbitmq, minio = _TimedPostgres(), RabbitMq(), Minio()
    try:
        async with asyncio.TaskGroup() as group:
            for server in (postgres, rabbitmq, minio):
                group.create_task(asyncio.to_thread(server.start))
        yield Servers(postgres=postgres, rabbitmq=rabbitmq, minio=minio)
    finally:
        for server in (postgres, rabbitmq, minio):
            server.close()


@dataclass(kw_only=True)
class Bench:
    """Running processes of the product over a fresh database, and a way to look at the rows."""

    servers: Servers
    folder: Path
    database: Any  # a connection of the harness's own
    database_url: str
    environment: Mapping[str, str]
    processes: dict[str, tuple[str, Process]] = field(
        default_factory=dict[str, tuple[str, Process]]
    )

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.processes['api'][1].port}"

    def meter(self) -> Meter:
        """Ours by role, the servers by name."""
        groups: dict[str, list[int]] = {}
        for role, process in self.processes.values():
            groups.setdefault(role, []).append(process.pid)
        return Meter({**groups, **self.servers.pids()})

    async def start(
        self, name: str, role: str, *, command: Sequence[str] = (), **more: str
    ) -> Process:
        """One more process, ready. `command` is run in place of `pipeline ROLE`."""
        port = free_port()
        names = ("API_PORT", "WORKER_METRICS_PORT", "DISPATCHER_METRICS_PORT")
        environment = {**self.environment, **dict.fromkeys(names, str(port)), **more}
        log = self.folder / f"{name}.log"
        process = Process(command or product(role), environment, log, port=port)
        self.processes[name] = role, process
        await process.ready()
        return process

    def stop(self, *names: str) -> None:
        """End these processes, or all."""
        for name in names or tuple(self.processes):
            self.processes.pop(name)[1].close()


@asynccontextmanager
async def bench(servers: Servers, **settings: str) -> AsyncGenerator[Bench]:
    """An empty database, empty queues and the bucket, migrated; no process runs yet."""
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="pipeline-bench-")))
        await remove_topology(servers.rabbitmq.url)
        database_url = await stack.enter_async_context(fresh_database(servers.postgres.url))
        environment = {
            **machine(folder),
            **SETTINGS,
            "SCRATCH_DIR": str(folder / "scratch"),
            **servers.environment(database_url),
            **settings,
        }
        await _migrate(environment)
        database: Any = await cast("Any", asyncpg).connect(database_url)
        stack.push_async_callback(database.close)
        running = Bench(
            servers=servers,
            folder=folder,
            database=database,
            database_url=database_url,
            environment=environment,
        )
        stack.callback(running.stop)
        yield running


async def _migrate(environment: Mapping[str, str]) -> None:
    migrating = await asyncio.create_subprocess_exec(
        *product("migrate"), cwd=ROOT, env=dict(environment), stderr=asyncio.subprocess.PIPE
    )
    _, errors = await migrating.communicate()
    if migrating.returncode != 0:
        raise SystemExit(errors.decode())


def _pid(server: KnownServer) -> int:
    process = server._process  # noqa: SLF001  # pyright: ignore[reportPrivateUsage] - nobody else asks
    assert process is not None, f"{server.name} does not run"
    return process.pid
