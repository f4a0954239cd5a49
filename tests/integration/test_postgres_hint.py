"""LISTEN wakes a dispatcher after a commit, and comes back by itself when it is cut off."""

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable
from urllib.parse import urlsplit, urlunsplit

import pytest

from adapters.postgres.database import PostgresDatabase
from adapters.postgres.hint import CHANNEL
from adapters.postgres.migrations import migrate
from tests.integration.postgres import connected, connection, empty_database
from tests.support import builders
from tests.support.proxy import Proxy, proxy_before
from tests.support.waiting import eventually

pytestmark = pytest.mark.anyio

LISTENING = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'image-pipeline-hint' \
AND datname = current_database()"
CUT_OFF = LISTENING.replace("count(*)", "pg_terminate_backend(pid)")
LONG_SECONDS = 30.0
SHORT_SECONDS = 0.2


@pytest.fixture
async def url(postgres_url: str) -> AsyncGenerator[str]:
    async with empty_database(postgres_url) as url:
        await migrate(url)
        yield url


@pytest.fixture
async def database(url: str) -> AsyncGenerator[PostgresDatabase]:
    async with connected(url) as database:
        await database.hint.wait(LONG_SECONDS)  # the first connection rings once
        yield database


async def _enqueue(database: PostgresDatabase, *numbers: int, commit: bool = True) -> None:
    async with database.begin() as uow:
        for number in numbers:
            await uow.enqueue(builders.request(number))
        if commit:
            await uow.commit()


async def _seconds_waited(database: PostgresDatabase, seconds: float) -> float:
    loop = asyncio.get_running_loop()
    start = loop.time()
    await database.hint.wait(seconds)
    return loop.time() - start


async def test_a_commit_wakes_whoever_waits(database: PostgresDatabase) -> None:
    waiting = asyncio.create_task(_seconds_waited(database, LONG_SECONDS))
    await _enqueue(database, 1, 2, 3)
    assert await waiting < LONG_SECONDS / 2


async def test_a_commit_before_the_wait_is_not_missed(database: PostgresDatabase) -> None:
    await _enqueue(database, 1)
    assert await _seconds_waited(database, LONG_SECONDS) < LONG_SECONDS / 2


async def test_a_commit_of_many_rows_rings_once(url: str, database: PostgresDatabase) -> None:
    rings: list[object] = []
    async with connection(url) as plain:
        await plain.add_listener(CHANNEL, lambda *_: rings.append(_))
        await _enqueue(database, 1, 2, 3)
        await eventually(lambda: plain.fetchval("SELECT 1"), until=lambda _: rings)
        await plain.fetchval("SELECT 1")
    assert len(rings) == 1
    await database.hint.wait(LONG_SECONDS)
    assert await _seconds_waited(database, SHORT_SECONDS) >= SHORT_SECONDS * 0.9


async def test_nothing_rings_without_a_commit_or_without_a_row(database: PostgresDatabase) -> None:
    await _enqueue(database, 1, commit=False)
    async with database.begin() as uow:
        await uow.media.add(builders.pending())
        await uow.commit()
    assert await _seconds_waited(database, SHORT_SECONDS) >= SHORT_SECONDS * 0.9


async def test_a_lost_connection_is_replaced_and_told_once(
    url: str, database: PostgresDatabase, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    async with connection(url) as plain:
        for _ in range(3):
            assert await plain.fetch(CUT_OFF)
            await eventually(lambda: plain.fetchval(LISTENING), until=lambda count: count == 0)
            await database.hint.wait(LONG_SECONDS)  # back, and rings for what it may have missed
            assert await plain.fetchval(LISTENING) == 1
            await _enqueue(database, 1)
            assert await _seconds_waited(database, LONG_SECONDS) < LONG_SECONDS / 2
    lines = [record.message for record in caplog.records if record.name.endswith("hint")]
    assert [line.split(",")[0] for line in lines] == ["outbox hint lost", "outbox hint is back"] * 3


async def test_a_process_that_never_waits_holds_no_connection_to_listen(url: str) -> None:
    async with connected(url) as quiet, connection(url) as plain:
        await _enqueue(quiet, 1)
        assert await plain.fetchval(LISTENING) == 0


async def test_an_outage_is_told_once_however_long_it_lasts(
    url: str, caplog: pytest.LogCaptureFixture
) -> None:
    parts = urlsplit(url)
    async with proxy_before(str(parts.hostname), parts.port or 5432) as proxy:
        proxy.refusing = True
        netloc = f"{parts.username}:hunter2@127.0.0.1:{proxy.port}"
        async with connected(urlunsplit(parts._replace(netloc=netloc))) as database:
            await database.hint.wait(SHORT_SECONDS)
            await eventually(_refused(proxy), until=lambda count: count >= 3)
            proxy.refusing = False
            await database.hint.wait(LONG_SECONDS)
    lines = [record.getMessage() for record in caplog.records if record.name.endswith("hint")]
    assert len(lines) == 1
    assert "hunter2" not in lines[0]


def _refused(proxy: Proxy) -> Callable[[], Awaitable[int]]:
    async def ask() -> int:
        return proxy.refused

    return ask
