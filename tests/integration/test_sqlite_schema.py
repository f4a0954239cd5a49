"""The schema of the SQLite files: its columns, its checks and its numbered steps."""

import asyncio
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import fields, replace
from datetime import datetime
from pathlib import Path
from typing import get_args, get_type_hints

import pytest

from adapters.rows import COLUMNS
from adapters.sqlite import SqliteBroker, SqliteDatabase
from adapters.sqlite.media_rows import TIMES
from domain.errors import InvalidConfiguration
from domain.lifecycle import State
from domain.media import Media
from tests.support import builders
from tests.support.builders import NOW

pytestmark = pytest.mark.anyio


async def _columns(path: Path) -> list[str]:
    await (await SqliteDatabase.open(path)).close()
    with closing(sqlite3.connect(path)) as connection:
        return [row[1] for row in connection.execute("PRAGMA table_info(media)")]


async def test_the_columns_are_the_fields_of_a_media_and_one_of_our_own(tmp_path: Path) -> None:
    assert await _columns(tmp_path / "db") == [*COLUMNS, "state_since"]


def test_every_field_that_is_a_time_is_kept_as_one() -> None:
    hints = get_type_hints(Media)
    times = {
        field.name
        for field in fields(Media)
        if datetime in (hints[field.name], *get_args(hints[field.name]))
    }
    assert set(TIMES) == times


_BROKEN: dict[str, tuple[State, Callable[[Media], Media]]] = {
    "no deadline": (State.UPLOADED, lambda media: replace(media, deadline_at=None)),
    "nothing pinned": (State.UPLOADED, lambda media: replace(media, etag=None)),
    "pinned before completion": (State.PENDING_UPLOAD, lambda media: replace(media, etag="e")),
    "a lease of nobody": (State.PROCESSING, lambda media: replace(media, worker_id=None)),
    "an owner without a lease": (State.READY, lambda media: replace(media, worker_id="w")),
    "an uncharged attempt": (State.PROCESSING, lambda media: replace(media, attempt=0)),
    "a retry without a time": (State.RETRYING, lambda media: replace(media, next_attempt_at=None)),
    "a time without a retry": (State.UPLOADED, lambda media: replace(media, next_attempt_at=NOW)),
    "failed without a reason": (State.FAILED, lambda media: replace(media, failure=None)),
    "ready without variants": (State.READY, lambda media: replace(media, variants=())),
    "more attempts than leases": (State.READY, lambda media: replace(media, attempt=9)),
}


@pytest.mark.parametrize("case", _BROKEN)
async def test_a_media_that_breaks_a_promise_of_the_domain_is_refused(
    tmp_path: Path, case: str
) -> None:
    state, damage = _BROKEN[case]
    database = await SqliteDatabase.open(tmp_path / "db")
    whole = builders.in_state(state, 1)
    for media, accepted in ((damage(whole), False), (whole, True)):
        async with database.begin() as uow:
            await uow.media.add(media)
            if accepted:
                await uow.commit()
            else:
                with pytest.raises(sqlite3.IntegrityError):
                    await uow.commit()
    await database.close()


async def test_several_openers_at_once_migrate_once(tmp_path: Path) -> None:
    databases = await asyncio.gather(*(SqliteDatabase.open(tmp_path / "db") for _ in range(5)))
    for database in databases:
        await database.dependency.check()
        await database.close()


async def test_a_file_of_a_newer_release_is_left_alone(tmp_path: Path) -> None:
    for path, opener in ((tmp_path / "db", SqliteDatabase), (tmp_path / "queue", SqliteBroker)):
        await (await opener.open(path)).close()
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("PRAGMA user_version = 9999")
        with pytest.raises(InvalidConfiguration, match="schema version 9999, written by a newer"):
            await opener.open(path)


async def test_a_file_that_is_reopened_keeps_what_is_in_it(tmp_path: Path) -> None:
    database = await SqliteDatabase.open(tmp_path / "db")
    async with database.begin() as uow:
        await uow.media.add(builders.ready(1))
        await uow.commit()
    await database.close()
    database = await SqliteDatabase.open(tmp_path / "db")
    async with database.begin() as uow:
        assert await uow.media.get(builders.ulid(1)) == builders.ready(1)
    await database.close()
