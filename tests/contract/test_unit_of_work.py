"""What `Database`, `UnitOfWork` and `MediaRepository` promise, on every set."""

import asyncio
from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from application.ports import Database
from application.values import Due
from domain.errors import VersionConflict
from domain.lifecycle import CLAIMABLE, State
from domain.media import Media
from tests.support import builders
from tests.support.sets import DatabasePorts

pytestmark = pytest.mark.anyio


async def put(database: Database, *media: Media) -> None:
    async with database.begin() as uow:
        for one in media:
            await uow.media.add(one)
        await uow.commit()


async def renew(database: Database, number: int = 1) -> None:
    async with database.begin() as uow:
        media = await uow.media.get(builders.ulid(number), lock=True)
        assert media is not None
        await uow.media.save(media.renew_lease(now=uow.now, token=1, lease_seconds=15))
        await uow.commit()


async def get(database: Database, number: int = 1) -> Media | None:
    async with database.begin() as uow:
        return await uow.media.get(builders.ulid(number))


async def now_of(database: Database) -> datetime:
    async with database.begin() as uow:
        return uow.now


async def claim(database: Database, worker_id: str) -> bool:
    """Try once to become the worker of photo 1; whether we are it."""
    try:
        async with database.begin() as uow:
            media = await uow.media.get(builders.ulid(1), lock=True)
            assert media is not None
            await asyncio.sleep(0)
            change = builders.claim(media, now=uow.now, worker_id=worker_id)
            if not change.moved:
                return False
            await uow.media.save(change.media)
            await uow.commit()
    except VersionConflict:
        return False
    return True


# --- commit and rollback ---------------------------------------------------------------------


async def test_what_was_not_committed_never_happened(database_ports: DatabasePorts) -> None:
    database = database_ports.database
    async with database.begin() as uow:
        await uow.media.add(builders.pending(1))
        await uow.dead_letters.keep(builders.letter())
        await uow.enqueue(builders.request())
    async with database.begin() as uow:
        assert await uow.media.get(builders.ulid(1)) is None
        assert await uow.dead_letters.get("letter-1") is None
    assert await database_ports.relay.claim(limit=10, hold_seconds=60) == []


async def test_an_error_undoes_everything_and_is_not_swallowed(
    database_ports: DatabasePorts,
) -> None:
    database = database_ports.database
    media = builders.uploaded(1)
    await put(database, media)

    async def claim_and_stumble() -> None:
        async with database.begin() as uow:
            await uow.media.get(media.id, lock=True)
            await uow.media.save(builders.claim(media).media)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await claim_and_stumble()
    assert await get(database) == media


async def test_a_cancelled_transaction_undoes_everything(database_ports: DatabasePorts) -> None:
    database, written = database_ports.database, asyncio.Event()

    async def write_and_hang() -> None:
        async with database.begin() as uow:
            await uow.media.add(builders.pending(1))
            written.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(write_and_hang())
    await written.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await get(database) is None
    await put(database, builders.pending(1))


async def test_what_was_committed_is_seen_by_the_next_transaction(
    database_ports: DatabasePorts,
) -> None:
    database = database_ports.database
    media = builders.pending(1)
    await put(database, media)
    assert await get(database, 1) == media
    assert await get(database, 2) is None


async def test_a_transaction_sees_its_own_writes(database_ports: DatabasePorts) -> None:
    async with database_ports.database.begin() as uow:
        await uow.media.add(builders.pending(1))
        assert await uow.media.get(builders.ulid(1)) == builders.pending(1)
        await uow.dead_letters.keep(builders.letter())
        assert await uow.dead_letters.get("letter-1") == builders.letter()


@pytest.mark.parametrize("state", sorted(State))
async def test_a_media_comes_back_as_it_was_saved(
    database_ports: DatabasePorts, state: State
) -> None:
    database = database_ports.database
    media = builders.in_state(state, now=await now_of(database))
    await put(database, media)
    assert await get(database) == media


async def test_a_saved_media_replaces_all_of_the_old_one(database_ports: DatabasePorts) -> None:
    database = database_ports.database
    await put(database, builders.processing(1))
    async with database.begin() as uow:
        media = await uow.media.get(builders.ulid(1), lock=True)
        assert media is not None
        finished = builders.finish(media, now=uow.now).media
        await uow.media.save(finished)
        await uow.commit()
    assert await get(database) == finished


# --- conflicts -------------------------------------------------------------------------------


async def test_an_id_can_be_added_only_once(database_ports: DatabasePorts) -> None:
    database = database_ports.database
    await put(database, builders.pending(1))
    with pytest.raises(VersionConflict, match=builders.ulid(1)):
        await put(database, replace(builders.pending(1), file_name="another"))
    assert await get(database) == builders.pending(1)


async def test_a_conflict_keeps_nothing_of_its_transaction(database_ports: DatabasePorts) -> None:
    database = database_ports.database
    await put(database, builders.pending(1))

    async def add_a_new_one_and_an_old_one() -> None:
        async with database.begin() as uow:
            await uow.media.add(builders.pending(2))
            await uow.enqueue(builders.request(2))
            await uow.media.add(builders.pending(1))
            await uow.commit()

    with pytest.raises(VersionConflict):
        await add_a_new_one_and_an_old_one()
    assert await get(database, 2) is None
    assert await database_ports.relay.claim(limit=10, hold_seconds=60) == []


async def test_the_database_works_on_after_a_conflict(database_ports: DatabasePorts) -> None:
    database = database_ports.database
    await put(database, builders.pending(1))
    for _ in range(20):
        with pytest.raises(VersionConflict):
            await put(database, builders.pending(1))
    await put(database, builders.pending(2))
    assert await get(database, 2) == builders.pending(2)


async def test_two_who_read_with_a_lock_never_lose_an_update(
    database_ports: DatabasePorts,
) -> None:
    """The second reads while the first still holds its lock: it waits, or somebody conflicts."""
    database = database_ports.database
    await put(database, builders.processing(1))
    first_has_read = asyncio.Event()

    async def first() -> None:
        async with database.begin() as uow:
            media = await uow.media.get(builders.ulid(1), lock=True)
            assert media is not None
            first_has_read.set()
            await asyncio.sleep(0)
            await uow.media.save(media.renew_lease(now=uow.now, token=1, lease_seconds=15))
            await uow.commit()

    async def second() -> None:
        await first_has_read.wait()
        await renew(database)

    outcomes = await asyncio.gather(first(), second(), return_exceptions=True)
    assert all(outcome is None or isinstance(outcome, VersionConflict) for outcome in outcomes)
    media = await get(database)
    assert media is not None
    successes = outcomes.count(None)
    assert successes >= 1
    assert media.version == builders.processing(1).version + successes


async def test_what_was_read_with_a_lock_holds_until_the_commit_though_nothing_is_saved(
    database_ports: DatabasePorts,
) -> None:
    """Others wait until our commit is over, or it is refused."""
    database = database_ports.database
    await put(database, builders.processing(1))
    has_read, order = asyncio.Event(), list[str]()

    async def decide_by_what_was_read(others: asyncio.Task[None]) -> None:
        async with database.begin() as uow:
            await uow.media.get(builders.ulid(1), lock=True)
            has_read.set()
            await asyncio.wait({others}, timeout=0.2)
            await uow.enqueue(builders.request(1))
            await uow.commit()
            order.append("decided")

    async def change() -> None:
        await has_read.wait()
        await renew(database)
        order.append("changed")

    others = asyncio.create_task(change())
    outcome = await asyncio.gather(decide_by_what_was_read(others), return_exceptions=True)
    await others
    assert order == ["decided", "changed"] or isinstance(outcome[0], VersionConflict)


async def test_of_twenty_claimers_of_one_photo_exactly_one_wins(
    database_ports: DatabasePorts,
) -> None:
    database = database_ports.database
    await put(database, builders.uploaded(1, now=await now_of(database)))
    won = await asyncio.gather(*(claim(database, f"worker-{number}") for number in range(20)))
    assert won.count(True) == 1
    media = await get(database)
    assert media is not None
    assert media.worker_id == f"worker-{won.index(True)}"
    assert (media.attempt, media.lease_token, len(media.attempts)) == (1, 1, 1)


async def test_a_lock_on_one_photo_does_not_hold_up_another(database_ports: DatabasePorts) -> None:
    """Two chains of twenty transactions at once, one for each photo, and none conflicts."""
    database = database_ports.database
    await put(database, builders.processing(1), builders.processing(2))

    async def renew_often(number: int) -> None:
        for _ in range(20):
            await renew(database, number)

    await asyncio.gather(renew_often(1), renew_often(2))
    for number in (1, 2):
        media = await get(database, number)
        assert media is not None
        assert media.version == builders.processing(1).version + 20


# --- time ------------------------------------------------------------------------------------


async def test_now_is_fixed_inside_a_transaction_and_does_not_go_back(
    database_ports: DatabasePorts,
) -> None:
    last = await now_of(database_ports.database)
    assert last.utcoffset() == timedelta(0)
    for _ in range(20):
        async with database_ports.database.begin() as uow:
            before = uow.now
            await uow.media.get(builders.ulid(1))
            assert uow.now == before
            assert before >= last
            last = before


# --- due -------------------------------------------------------------------------------------


async def test_due_lists_what_is_past_its_deadline_oldest_first(
    database_ports: DatabasePorts,
) -> None:
    database = database_ports.database
    now = await now_of(database)
    await put(
        database,
        builders.overdue(builders.uploaded(1), seconds=10, now=now),
        builders.overdue(builders.retrying(2), seconds=30, now=now),
        builders.overdue(builders.uploaded(3), seconds=20, now=now),
        builders.overdue(builders.processing(4), seconds=40, now=now),
        builders.overdue(builders.uploaded(5), seconds=-3600, now=now),
        builders.ready(6, now=now),
    )
    async with database.begin() as uow:
        found = await uow.media.due(CLAIMABLE, limit=10)
        assert [due.media_id for due in found] == [builders.ulid(n) for n in (2, 3, 1)]
        assert found[0] == Due(now - timedelta(seconds=30), builders.ulid(2))
        assert [due.media_id for due in await uow.media.due(CLAIMABLE, limit=2)] == [
            builders.ulid(2),
            builders.ulid(3),
        ]
        assert await uow.media.due(frozenset({State.PENDING_UPLOAD}), limit=10) == []
        assert await uow.media.due(frozenset[State](), limit=10) == []


async def test_due_pages_past_what_was_seen_also_among_equal_deadlines(
    database_ports: DatabasePorts,
) -> None:
    database = database_ports.database
    now = await now_of(database)
    seconds = {number: 20 if number % 2 else 10 for number in range(1, 8)}
    await put(
        database,
        *(builders.overdue(builders.uploaded(n), seconds=seconds[n], now=now) for n in seconds),
    )
    found: list[Due] = []
    async with database.begin() as uow:
        while page := await uow.media.due(CLAIMABLE, limit=2, after=found[-1] if found else None):
            assert len(page) <= 2
            found += page
    assert [due.media_id for due in found] == [builders.ulid(n) for n in (1, 3, 5, 7, 2, 4, 6)]
