"""The three databases under one clock that only the test moves.

PostgreSQL looks `now()` up along its search path: a function of that name in a schema before
`pg_catalog` is the time for every statement that is not qualified, and ours are not.
"""

from collections.abc import AsyncGenerator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

from adapters.memory.database import MemoryDatabase
from adapters.postgres.connections import Connection, connect_alone
from adapters.postgres.database import PostgresDatabase
from adapters.postgres.migrations import migrate
from adapters.sqlite import SqliteDatabase
from tests.support.builders import NOW
from tests.support.leaks import no_leaks
from tests.support.services import Services
from tests.support.sets import POOL_SIZE, SetName, fresh_database

AnyDatabase = MemoryDatabase | SqliteDatabase | PostgresDatabase

_INSTALL = """
CREATE TABLE virtual_time (moment timestamptz NOT NULL);
INSERT INTO virtual_time VALUES ('-infinity');
CREATE FUNCTION public.now() RETURNS timestamptz LANGUAGE sql STABLE
    AS 'SELECT moment FROM public.virtual_time';
"""
_SEARCH_OURS_FIRST = """
DO $$BEGIN
    EXECUTE format('ALTER DATABASE %I SET search_path = public, pg_catalog', current_database());
END$$
"""


@dataclass
class VirtualClock:
    """Stands still between calls of `advance`."""

    moment: datetime = NOW
    servers: list[Connection] = field(default_factory=list[Connection])

    def now(self) -> datetime:
        return self.moment

    async def advance(self, seconds: float) -> None:
        self.moment += timedelta(seconds=seconds)
        for server in self.servers:
            await server.execute("UPDATE virtual_time SET moment = $1", self.moment)


@asynccontextmanager
async def databases_in_step(
    names: Sequence[SetName], clock: VirtualClock, services: Services, folder: Path
) -> AsyncGenerator[list[AnyDatabase]]:
    """The databases of these sets, empty, all of them under `clock`."""
    async with no_leaks(), AsyncExitStack() as stack:
        opened: list[AnyDatabase] = []
        for name in names:
            match name:
                case "memory":
                    opened.append(MemoryDatabase(clock.now))
                case "embedded":
                    database = await SqliteDatabase.open(folder / "step.db", clock=clock.now)
                    stack.push_async_callback(database.close)
                    opened.append(database)
                case "production":
                    opened.append(await stack.enter_async_context(_postgres(clock, services)))
        yield opened


@asynccontextmanager
async def _postgres(clock: VirtualClock, services: Services) -> AsyncGenerator[PostgresDatabase]:
    async with fresh_database(services.postgres_url()) as url:
        server = await connect_alone(url, seconds=5.0)
        try:
            await server.execute(_INSTALL)
            await server.execute(_SEARCH_OURS_FIRST)
            await migrate(url)
            clock.servers.append(server)
            await clock.advance(0.0)
            database = await PostgresDatabase.connect(url, pool_size=POOL_SIZE)
            try:
                yield database
            finally:
                await database.close()
        finally:
            server.terminate()
