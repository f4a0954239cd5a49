"""What PostgreSQL does to us when it is slow, silent, full or gone; and that it passes."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from urllib.parse import urlsplit, urlunsplit

import pytest

from adapters.postgres.database import PostgresDatabase
from adapters.postgres.migrations import migrate
from application.ports import Database
from domain.errors import DatabaseUnavailable, VersionConflict
from domain.media import Media
from tests.integration.postgres import (
    connected,
    connection,
    empty_database,
    load,
    store,
    touched,
)
from tests.support import builders
from tests.support.proxy import Proxy, proxy_before
from tests.support.waiting import eventually

pytestmark = pytest.mark.anyio

LIMITS = {"connect_seconds": 1.0, "statement_seconds": 0.5, "lock_seconds": 0.3}
SILENCE_SECONDS = 3.0  # two thirds of it by the breaker's rules, the rest for a busy machine
OURS = "FROM pg_stat_activity WHERE application_name = 'image-pipeline' \
AND datname = current_database()"


@dataclass(frozen=True)
class Stage:
    """A set behind a proxy, and the way around it."""

    database: PostgresDatabase
    proxy: Proxy
    url: str
    proxied: str


@pytest.fixture
async def url(postgres_url: str) -> AsyncGenerator[str]:
    async with empty_database(postgres_url) as url:
        await migrate(url)
        yield url


@pytest.fixture
async def stage(url: str) -> AsyncGenerator[Stage]:
    async with _stage(url) as stage:
        yield stage


@asynccontextmanager
async def _stage(url: str) -> AsyncGenerator[Stage]:
    parts = urlsplit(url)
    async with proxy_before(str(parts.hostname), parts.port or 5432) as proxy:
        netloc = f"{parts.username}:hunter2@127.0.0.1:{proxy.port}"
        # The driver forgets to collect an error of its own when its offer of TLS is cancelled.
        proxied = parts._replace(netloc=netloc, query="sslmode=disable")
        async with connected(urlunsplit(proxied), **LIMITS) as database:
            yield Stage(database, proxy, url, urlunsplit(proxied))


async def _fails(database: Database) -> DatabaseUnavailable:
    with pytest.raises(DatabaseUnavailable) as failed:
        async with database.begin() as uow:
            await uow.media.get("x")
    assert failed.value.__cause__ is not None
    assert "hunter2" not in f"{failed.value} {failed.value.__cause__}"
    return failed.value


async def test_a_refused_connection_is_said_at_once_and_heals_by_itself(stage: Stage) -> None:
    stage.proxy.refusing = True
    for _ in range(3):
        await _fails(stage.database)
    with pytest.raises(DatabaseUnavailable):
        await stage.database.dependency.check()
    stage.proxy.refusing = False
    await stage.database.dependency.check()


async def test_a_server_that_is_not_there_fails_within_the_time_to_connect(url: str) -> None:
    parts = urlsplit(url)
    silent = await asyncio.start_server(lambda _reader, _writer: None, "127.0.0.1", 0)
    port = silent.sockets[0].getsockname()[1]
    netloc = f"{parts.username}:hunter2@127.0.0.1:{port}"
    async with silent, connected(urlunsplit(parts._replace(netloc=netloc)), **LIMITS) as database:
        async with asyncio.timeout(LIMITS["connect_seconds"] + 2.0):
            await _fails(database)


async def _change(stage: Stage, media: Media, before_commit: Callable[[], object]) -> None:
    async with stage.database.begin() as uow:
        assert await uow.media.get(media.id, lock=True) == media
        await uow.media.save(touched(media))
        before_commit()
        await uow.commit()


async def test_a_commit_whose_answer_is_lost_is_unknown_and_may_be_durable(stage: Stage) -> None:
    media = builders.uploaded()
    await store(stage.database, media)
    with pytest.raises(DatabaseUnavailable):
        await _change(stage, media, stage.proxy.mute)
    assert await load(stage.database, media.id) == touched(media)


async def test_a_connection_cut_before_commit_leaves_nothing(stage: Stage) -> None:
    media = builders.uploaded()
    await store(stage.database, media)
    with pytest.raises(DatabaseUnavailable):
        await _change(stage, media, stage.proxy.cut)
    assert await load(stage.database, media.id) == media


async def test_silent_connections_cost_one_time_limit_together_not_one_each(stage: Stage) -> None:
    async with AsyncExitStack() as several:
        for _ in range(4):
            await several.enter_async_context(stage.database.begin())
    stage.proxy.freeze()
    await _fails(stage.database)
    async with asyncio.timeout(LIMITS["statement_seconds"]):
        assert await stage.database.overview.totals() == {}


async def test_a_silent_server_is_told_from_a_slow_one_once_and_then_at_once(stage: Stage) -> None:
    clock = asyncio.get_running_loop().time
    async with connected(stage.proxied, connect_seconds=30.0, statement_seconds=30.0) as database:
        await database.dependency.check()
        stage.proxy.freeze()
        stage.proxy.silent = True
        began = clock()
        calls = [_fails(database) for _ in range(3)]
        assert {str(error) for error in await asyncio.gather(*calls)} == {"the database is silent"}
        assert clock() - began < SILENCE_SECONDS
        began = clock()
        for _ in range(100):
            await _fails(database)
        assert clock() - began < 1.0
        stage.proxy.silent = False
        await eventually(lambda: _answers(database), seconds=SILENCE_SECONDS)


async def test_a_server_that_is_slow_with_one_answer_is_not_silent(url: str) -> None:
    media = builders.uploaded()
    async with connected(url) as database, connection(url) as plain:
        await store(database, media)
        waits = f"SELECT count(*) = 1 {OURS} AND wait_event_type = 'Lock'"
        async with database.begin() as holder:
            await holder.media.get(media.id, lock=True)
            waiting = asyncio.create_task(_read_locked(database, media.id))
            # Longer than it takes to find out that a server is silent.
            for_long = f"{waits} AND now() - query_start > interval '1.9 s'"
            await eventually(lambda: plain.fetchval(for_long))
        assert await waiting == media


async def _read_locked(database: Database, media_id: str) -> Media | None:
    async with database.begin() as uow:
        return await uow.media.get(media_id, lock=True)


async def test_connections_ended_by_the_operator_are_replaced(stage: Stage) -> None:
    await stage.database.dependency.check()
    async with connection(stage.url) as plain:
        assert await plain.fetch(f"SELECT pg_terminate_backend(pid) {OURS}")
        await eventually(lambda: plain.fetchval(f"SELECT count(*) = 0 {OURS}"))
    await eventually(lambda: _answers(stage.database))


async def _answers(database: PostgresDatabase) -> bool:
    try:
        await database.dependency.check()
    except DatabaseUnavailable:
        return False
    return True


async def test_a_transaction_ended_by_the_operator_is_unavailable(stage: Stage) -> None:
    async def work() -> None:
        async with stage.database.begin() as uow:
            await uow.media.add(builders.pending())
            async with connection(stage.url) as plain:
                await plain.fetch(f"SELECT pg_terminate_backend(pid) {OURS}")
            await uow.commit()

    with pytest.raises(DatabaseUnavailable):
        await work()
    assert (await stage.database.overview.totals()) == {}


async def test_waiting_for_a_lock_has_an_end(stage: Stage) -> None:
    media = builders.uploaded()
    await store(stage.database, media)
    async with stage.database.begin() as holder:
        await holder.media.get(media.id, lock=True)
        with pytest.raises(DatabaseUnavailable, match="lock timeout"):
            async with stage.database.begin() as waiter:
                await waiter.media.get(media.id, lock=True)


async def test_a_deadlock_is_a_conflict_for_one_of_the_two(url: str) -> None:
    first, second = builders.uploaded(1), builders.uploaded(2)
    async with connected(url) as database:
        await store(database, first)
        await store(database, second)
        meet = asyncio.Barrier(2)

        async def lock_both(one: str, other: str) -> None:
            async with database.begin() as uow:
                await uow.media.get(one, lock=True)
                await meet.wait()
                await uow.media.get(other, lock=True)
                await uow.commit()

        outcomes = await asyncio.gather(
            lock_both(first.id, second.id),
            lock_both(second.id, first.id),
            return_exceptions=True,
        )
    lost = [outcome for outcome in outcomes if outcome is not None]
    assert len(lost) == 1
    assert isinstance(lost[0], VersionConflict)
    assert lost[0].__cause__ is not None


async def test_a_cancelled_task_leaves_no_lock_no_transaction_and_no_connection(
    stage: Stage,
) -> None:
    media = builders.uploaded()
    await store(stage.database, media)
    locked = asyncio.Event()

    async def hold() -> None:
        async with stage.database.begin() as uow:
            await uow.media.get(media.id, lock=True)
            locked.set()
            await asyncio.Event().wait()

    holder = asyncio.create_task(hold())
    await locked.wait()
    waiter = asyncio.create_task(hold())
    async with connection(stage.url) as plain:
        blocked = f"SELECT count(*) = 1 {OURS} AND wait_event_type = 'Lock'"
        await eventually(lambda: plain.fetchval(blocked))
        waiter.cancel()  # in the middle of a statement
        holder.cancel()  # between two
        await asyncio.wait([holder, waiter])
        assert stage.database.connections_in_use == 0
        await eventually(lambda: plain.fetchval(f"SELECT count(*) = 0 {OURS} AND state <> 'idle'"))
    async with stage.database.begin() as uow:
        assert await uow.media.get(media.id, lock=True) == media


async def test_tasks_cancelled_at_any_moment_leave_nothing_behind(stage: Stage) -> None:
    async def work(number: int) -> None:
        async with stage.database.begin() as uow:
            await uow.media.add(builders.pending(number))
            await uow.enqueue(builders.request(number))
            await uow.commit()

    for pauses in range(25):
        task = asyncio.create_task(work(pauses))
        for _ in range(pauses):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        assert stage.database.connections_in_use == 0
    async with connection(stage.url) as plain:
        await eventually(lambda: plain.fetchval(f"SELECT count(*) = 0 {OURS} AND state <> 'idle'"))
        rows = await plain.fetchrow(
            "SELECT (SELECT count(*) FROM media) AS media, (SELECT count(*) FROM outbox) AS outbox"
        )
    assert rows is not None
    assert rows["media"] == rows["outbox"]


async def test_a_server_without_room_for_us_is_unavailable(url: str) -> None:
    async with connection(url) as plain:
        await plain.execute("CREATE ROLE visitor LOGIN CONNECTION LIMIT 0")
        try:
            parts = urlsplit(url)
            netloc = f"visitor:hunter2@{parts.hostname}:{parts.port}"
            visitor = urlunsplit(parts._replace(netloc=netloc))
            async with connected(visitor, **LIMITS) as database:
                assert "too many connections" in str(await _fails(database))
        finally:
            await plain.execute("DROP ROLE visitor")


async def test_a_full_pool_is_unavailable_not_a_queue_without_end(url: str) -> None:
    database = await PostgresDatabase.connect(url, pool_size=1, connect_seconds=0.2)
    async with database.begin():
        await _fails(database)
    await database.dependency.check()
    await database.close()
