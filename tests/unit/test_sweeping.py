"""A sweep goes past what fails."""

from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from application.sweeping import OUTAGES_MAX, PAGE, sweep
from domain.errors import DatabaseUnavailable, StoreUnavailable
from domain.lifecycle import State
from tests.support.pipeline import Pipeline, pipeline_at

pytestmark = pytest.mark.anyio
PENDING = frozenset({State.PENDING_UPLOAD})


@pytest.fixture
async def pipeline(tmp_path: Path) -> AsyncGenerator[Pipeline]:
    async with pipeline_at(tmp_path) as made:
        yield made


class Visits:
    """Raises `error` for the media it is told to fail on."""

    def __init__(self, failing: set[str], error: Exception) -> None:
        self._failing = failing
        self._error = error
        self.seen: list[str] = []

    async def __call__(self, media_id: str) -> bool:
        self.seen.append(media_id)
        if media_id in self._failing:
            raise self._error
        return True


async def _overdue(pipeline: Pipeline, count: int) -> list[str]:
    tickets = [await pipeline.ticket(body=None) for _ in range(count)]
    pipeline.clock.advance(10_000)
    return [ticket.media.id for ticket in tickets]


@pytest.mark.parametrize("error", [StoreUnavailable("this one"), AssertionError("a defect")])
async def test_a_visit_that_always_fails_starves_nobody_and_is_told_in_the_end(
    pipeline: Pipeline, error: Exception
) -> None:
    ids = await _overdue(pipeline, PAGE + 5)
    visits = Visits({ids[0], ids[3]}, error)
    with pytest.raises(type(error)):
        await sweep(pipeline.database, PENDING, visits)
    assert visits.seen == ids


async def test_without_the_database_a_sweep_ends_at_once(pipeline: Pipeline) -> None:
    ids = await _overdue(pipeline, 5)
    visits = Visits(set(ids), DatabaseUnavailable("away"))
    with pytest.raises(DatabaseUnavailable):
        await sweep(pipeline.database, PENDING, visits)
    assert visits.seen == ids[:1]


async def test_a_store_that_is_away_ends_a_sweep_before_long(pipeline: Pipeline) -> None:
    ids = await _overdue(pipeline, 3 * OUTAGES_MAX)
    visits = Visits(set(ids), StoreUnavailable("away"))
    with pytest.raises(StoreUnavailable):
        await sweep(pipeline.database, PENDING, visits)
    assert visits.seen == ids[:OUTAGES_MAX]
