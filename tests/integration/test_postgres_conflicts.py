"""Where PostgreSQL would let a mistake through without a word."""

from collections.abc import AsyncGenerator
from contextlib import suppress
from dataclasses import replace

import asyncpg  # pyright: ignore[reportMissingTypeStubs] - its errors are classes all the same
import pytest

from adapters.postgres.database import PostgresDatabase
from adapters.postgres.migrations import migrate
from domain.errors import VersionConflict
from tests.integration.postgres import connected, empty_database, load, store, touched
from tests.support import builders

pytestmark = pytest.mark.anyio


@pytest.fixture
async def database(postgres_url: str) -> AsyncGenerator[PostgresDatabase]:
    async with empty_database(postgres_url) as url:
        await migrate(url)
        async with connected(url) as database:
            yield database


async def test_saving_what_was_read_in_an_earlier_transaction_is_a_conflict_if_it_is_stale(
    database: PostgresDatabase,
) -> None:
    media = builders.uploaded()
    await store(database, media)
    async with database.begin() as uow:
        await uow.media.get(media.id, lock=True)
        await uow.media.save(touched(media))
        await uow.commit()
    async with database.begin() as uow:
        with pytest.raises(VersionConflict):
            await uow.media.save(touched(media))
    assert await load(database, media.id) == touched(media)


async def test_a_commit_after_a_swallowed_error_does_not_pass_for_one(
    database: PostgresDatabase,
) -> None:
    broken = replace(builders.uploaded(1), etag=None)
    async with database.begin() as uow:
        await uow.media.add(builders.uploaded(2))
        with suppress(asyncpg.CheckViolationError):
            await uow.media.add(broken)
        with pytest.raises(VersionConflict):
            await uow.commit()
    assert await database.overview.totals() == {}
