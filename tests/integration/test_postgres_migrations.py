"""Migrating: repeated, at once, half done, and by the wrong release."""

import asyncio
from collections.abc import AsyncGenerator

import asyncpg  # pyright: ignore[reportMissingTypeStubs] - its errors are classes all the same
import pytest

from adapters.postgres import migrations
from adapters.postgres.migrations import NEWEST, STEPS, Step, check_migrated, migrate
from domain.errors import DatabaseUnavailable, InvalidConfiguration
from tests.integration.postgres import connected, connection, empty_database

pytestmark = pytest.mark.anyio


@pytest.fixture
async def url(postgres_url: str) -> AsyncGenerator[str]:
    async with empty_database(postgres_url) as url:
        yield url


async def test_a_second_run_has_nothing_to_do(url: str) -> None:
    assert list(await migrate(url)) == [step.name for step in STEPS]
    assert list(await migrate(url)) == []
    await check_migrated(url)


async def test_of_several_runs_at_once_one_does_the_work(url: str) -> None:
    done = await asyncio.gather(*(migrate(url) for _ in range(5)))
    assert sorted(map(len, done)) == [0, 0, 0, 0, len(STEPS)]


async def test_a_database_of_a_newer_release_is_refused_and_left_alone(url: str) -> None:
    await migrate(url)
    async with connection(url) as plain:
        await plain.execute("INSERT INTO schema_migrations VALUES (9999, '9999_later.sql')")
    with pytest.raises(InvalidConfiguration, match=r"version 9999.*install the newer release"):
        await migrate(url)
    await check_migrated(url)  # old processes go on while the new release is rolled out


async def test_an_empty_database_is_told_apart_in_a_sentence(url: str) -> None:
    with pytest.raises(InvalidConfiguration, match="run `pipeline migrate` first"):
        await check_migrated(url)
    async with connected(url) as database:
        with pytest.raises(DatabaseUnavailable, match="not migrated, run `pipeline migrate`"):
            await database.dependency.check()
        await migrate(url)
        await database.dependency.check()


async def test_a_database_that_lacks_a_step_is_not_ready(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await migrate(url)
    monkeypatch.setattr("adapters.postgres.dependency.NEWEST", NEWEST + 1)
    async with connected(url) as database:
        with pytest.raises(DatabaseUnavailable, match=f"is at version {NEWEST}"):
            await database.dependency.check()


async def test_a_step_that_fails_leaves_nothing_behind(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken = f"INSERT INTO schema_migrations VALUES ({NEWEST + 1}, 'x')"
    broken = Step(NEWEST + 1, "broken.sql", f"CREATE TABLE half (id int); {taken}")
    monkeypatch.setattr(migrations, "STEPS", (*STEPS, broken))
    monkeypatch.setattr(migrations, "NEWEST", NEWEST + 1)
    with pytest.raises(asyncpg.UniqueViolationError):
        await migrate(url)
    async with connection(url) as plain:
        assert await plain.fetchval("SELECT to_regclass('half') IS NULL")
        assert await plain.fetchval("SELECT max(version) FROM schema_migrations") == NEWEST


@pytest.mark.parametrize(
    "bad",
    [
        "mysql://user:hunter2@host/db",
        "postgresql://user:hunter2#x@host/db",
        "postgresql://user:hunter2@host:hunter2/db",
        "hunter2",
    ],
)
async def test_a_bad_url_is_refused_without_quoting_it(bad: str) -> None:
    with pytest.raises((InvalidConfiguration, DatabaseUnavailable)) as refused:
        await migrate(bad, connect_seconds=0.5)
    error: BaseException | None = refused.value
    while error is not None:
        assert "hunter2" not in str(error)
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
