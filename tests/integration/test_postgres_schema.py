"""The table refuses what the domain would never write."""

from collections.abc import AsyncGenerator, Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import asyncpg  # pyright: ignore[reportMissingTypeStubs] - its errors are classes all the same
import pytest

from adapters.postgres.database import PostgresDatabase
from adapters.postgres.migrations import migrate
from adapters.rows import COLUMNS
from domain.failure import Failure, FailureCode
from domain.lifecycle import State
from domain.media import Media
from tests.integration.postgres import connected, connection, empty_database, load, store
from tests.support import builders
from tests.support.builders import NOW, POLICY

pytestmark = pytest.mark.anyio

BROKEN: list[tuple[State, dict[str, Any], str]] = [
    (State.PENDING_UPLOAD, {"deadline_at": None}, "media_under_way_has_a_deadline"),
    (State.PENDING_UPLOAD, {"etag": "e"}, "media_not_accepted_is_untouched"),
    (State.PENDING_UPLOAD, {"declared_bytes": -1}, "media_sizes_are_sound"),
    (State.UPLOADED, {"deadline_at": None}, "media_under_way_has_a_deadline"),
    (State.UPLOADED, {"etag": None}, "media_accepted_is_pinned"),
    (State.UPLOADED, {"original_bytes": None}, "media_accepted_is_pinned"),
    (State.UPLOADED, {"completed_at": None}, "media_accepted_is_pinned"),
    (State.UPLOADED, {"worker_id": "w"}, "media_lease_has_an_owner"),
    (State.UPLOADED, {"next_attempt_at": NOW}, "media_retry_has_a_due_time"),
    (State.UPLOADED, {"attempt": -1}, "media_counters_are_sound"),
    (State.UPLOADED, {"attempt": 1}, "media_counters_are_sound"),
    (State.UPLOADED, {"requeues": -1}, "media_counters_are_sound"),
    (State.UPLOADED, {"original_bytes": -1}, "media_sizes_are_sound"),
    (State.PROCESSING, {"deadline_at": None}, "media_under_way_has_a_deadline"),
    (State.PROCESSING, {"worker_id": None}, "media_lease_has_an_owner"),
    (State.PROCESSING, {"attempt": 0}, "media_processing_is_charged"),
    (State.PROCESSING, {"attempts": ()}, "media_processing_is_charged"),
    (State.PROCESSING, {"lease_token": 0, "attempt": 0}, "media_processing_is_charged"),
    (State.PROCESSING, {"next_attempt_at": NOW}, "media_retry_has_a_due_time"),
    (State.PROCESSING, {"etag": None}, "media_accepted_is_pinned"),
    (State.RETRYING, {"next_attempt_at": None}, "media_retry_has_a_due_time"),
    (State.RETRYING, {"deadline_at": None}, "media_under_way_has_a_deadline"),
    (State.RETRYING, {"worker_id": "w"}, "media_lease_has_an_owner"),
    (State.RETRYING, {"attempts": ()}, "media_retrying_was_tried"),
    (State.READY, {"variants": ()}, "media_ready_has_variants"),
    (State.READY, {"original": None}, "media_ready_has_variants"),
    (State.READY, {"worker_id": "w"}, "media_lease_has_an_owner"),
    (
        State.READY,
        {"failure": Failure(FailureCode.IMAGE_CORRUPT, "d", 1)},
        "media_failed_has_a_failure",
    ),
    (State.FAILED, {"failure": None}, "media_failed_has_a_failure"),
    (State.FAILED, {"lost_leases": 2}, "media_counters_are_sound"),
    (
        State.FAILED,
        {"original": builders.result("m", 1).original},
        "media_unfinished_shows_nothing",
    ),
    (State.EXPIRED, {"etag": "e"}, "media_not_accepted_is_untouched"),
]


@pytest.fixture
async def url(postgres_url: str) -> AsyncGenerator[str]:
    async with empty_database(postgres_url) as url:
        await migrate(url)
        yield url


@pytest.fixture
async def database(url: str) -> AsyncGenerator[PostgresDatabase]:
    async with connected(url) as database:
        yield database


async def test_each_broken_row_is_refused_by_the_check_that_names_the_rule(
    database: PostgresDatabase,
) -> None:
    for state, change, constraint in BROKEN:
        broken = replace(builders.in_state(state), **change)
        with pytest.raises(asyncpg.CheckViolationError) as refused:
            await store(database, broken)
        name: str = refused.value.constraint_name  # pyright: ignore[reportUnknownVariableType, reportUnknownMemberType, reportAttributeAccessIssue] - set by the driver at run time
        assert name == constraint, (state, change)


async def test_every_check_of_the_table_is_among_the_broken_rows(url: str) -> None:
    async with connection(url) as plain:
        rows = await plain.fetch(
            "SELECT conname FROM pg_constraint WHERE conrelid = 'media'::regclass AND contype = 'c'"
        )
    # These two cannot be broken through a Media at all.
    unreachable = {"media_state_is_known", "media_failure_has_a_code"}
    assert {row["conname"] for row in rows} - unreachable == {name for _, _, name in BROKEN}


async def test_the_table_has_the_columns_of_a_media_in_order(url: str) -> None:
    async with connection(url) as plain:
        rows = await plain.fetch(
            "SELECT column_name FROM information_schema.columns "
            "WHERE table_name = 'media' ORDER BY ordinal_position"
        )
    names = [row["column_name"] for row in rows]
    assert tuple(names) == (*COLUMNS, "failure_code", "state_since")


def _released() -> Media:
    media = builders.processing()
    return media.release(now=NOW, policy=POLICY, token=1).media


def _postponed() -> Media:
    return builders.retry(builders.processing(), charged=False).media


def _undeliverable() -> Media:
    code = FailureCode.MESSAGE_UNDELIVERABLE
    return builders.fail(builders.uploaded(), code=code).media


def _reprocessed() -> Media:
    return builders.failed().reprocess(now=NOW, policy=POLICY).media


def _lost(times: int) -> Media:
    media = builders.processing()
    for lost in range(1, times + 1):
        later = NOW + timedelta(hours=lost)
        media = media.lose_lease(now=later, policy=POLICY).media
        if lost < times:
            media = builders.claim(media, now=later + timedelta(minutes=1)).media
    return media


def _nul_in_detail() -> Media:
    media = builders.processing()
    change = media.fail(
        now=NOW, policy=POLICY, token=1, code=FailureCode.IMAGE_CORRUPT, detail="a\x00b"
    )
    return change.media


@pytest.mark.parametrize(
    "make",
    [
        *(lambda state=state: builders.in_state(state) for state in State),
        _released,
        _postponed,
        _undeliverable,
        _reprocessed,
        lambda: _lost(1),
        lambda: _lost(3),
        lambda: builders.expired().swept(now=NOW),
        lambda: builders.ready().swept(now=NOW),
        _nul_in_detail,
    ],
)
async def test_whatever_the_verbs_make_is_accepted_and_comes_back_equal(
    database: PostgresDatabase, make: Callable[[], Media]
) -> None:
    media = make()
    await store(database, media)
    assert await load(database, media.id) == media
