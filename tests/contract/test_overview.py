"""What `Overview` promises, on every set."""

from datetime import timedelta

import pytest

from domain.failure import FailureCode
from domain.lifecycle import State
from domain.media import Media
from tests.support import builders
from tests.support.sets import DatabasePorts

pytestmark = pytest.mark.anyio


async def put(ports: DatabasePorts, *media: Media) -> None:
    async with ports.database.begin() as uow:
        for one in media:
            await uow.media.add(one)
        await uow.commit()


async def test_nothing_waits_in_an_empty_database(database_ports: DatabasePorts) -> None:
    backlog = await database_ports.overview.backlog()
    assert sum(waiting.count for waiting in backlog.media.values()) == 0
    assert (backlog.outbox.count, backlog.outbox.oldest_seconds) == (0, 0.0)
    assert (backlog.requeued, backlog.dead_letters) == (0, 0)
    assert sum((await database_ports.overview.totals()).values()) == 0
    assert await database_ports.overview.failed(code=None, limit=10) == []


async def test_the_backlog_counts_unfinished_work_and_the_age_of_the_oldest(
    database_ports: DatabasePorts,
) -> None:
    async with database_ports.database.begin() as uow:
        now = uow.now
    old = now - timedelta(seconds=100)
    await put(
        database_ports,
        builders.uploaded(1, now=old),
        builders.uploaded(2, now=now),
        builders.sent_again(3, now=now),
        builders.overdue(builders.sent_again(7, now=now), now=now),
        builders.retrying(4, now=now),
        builders.ready(5, now=now),
        builders.failed(6, now=now),
    )
    async with database_ports.database.begin() as uow:
        await uow.enqueue(builders.request(1))
        await uow.enqueue(builders.request(2), delay_seconds=3600)
        await uow.dead_letters.keep(builders.letter(1))
        await uow.commit()
    backlog = await database_ports.overview.backlog()
    counts = {state: waiting.count for state, waiting in backlog.media.items() if waiting.count}
    assert counts == {State.UPLOADED: 4, State.RETRYING: 1}
    assert 99 < backlog.media[State.UPLOADED].oldest_seconds < 130
    assert backlog.media[State.RETRYING].oldest_seconds < 30
    assert backlog.outbox.count == 1
    assert backlog.outbox.oldest_seconds < 30
    assert (backlog.requeued, backlog.dead_letters) == (1, 1)


async def test_published_rows_are_not_in_the_backlog(database_ports: DatabasePorts) -> None:
    async with database_ports.database.begin() as uow:
        await uow.enqueue(builders.request(1))
        await uow.commit()
    [row] = await database_ports.relay.claim(limit=1, hold_seconds=60)
    assert (await database_ports.overview.backlog()).outbox.count == 1
    await database_ports.relay.mark_published([row.id])
    assert (await database_ports.overview.backlog()).outbox.count == 0


async def test_totals_count_every_state(database_ports: DatabasePorts) -> None:
    numbered = enumerate(sorted(State), start=1)
    await put(database_ports, *(builders.in_state(state, number) for number, state in numbered))
    totals = await database_ports.overview.totals()
    assert {state: count for state, count in totals.items() if count} == dict.fromkeys(State, 1)


async def test_failed_photos_are_listed_the_latest_first_and_by_code(
    database_ports: DatabasePorts,
) -> None:
    start = builders.NOW
    truncated = builders.failed(1, now=start)
    corrupt = builders.failed(2, now=start + timedelta(seconds=2), code=FailureCode.IMAGE_CORRUPT)
    latest = builders.failed(3, now=start + timedelta(seconds=3))
    await put(database_ports, truncated, latest, corrupt, builders.ready(4))
    overview = database_ports.overview
    assert await overview.failed(code=None, limit=10) == [latest, corrupt, truncated]
    assert await overview.failed(code=None, limit=1) == [latest]
    assert await overview.failed(code=FailureCode.IMAGE_TRUNCATED, limit=10) == [latest, truncated]
    assert await overview.failed(code=FailureCode.WORKER_CRASHED, limit=10) == []
