"""What the outbox promises: `UnitOfWork.enqueue`, `OutboxRelay` and `OutboxHint`, on every set."""

import asyncio
from collections.abc import Sequence

import pytest

from application.messages import ProcessRequest
from application.values import OutboxRow
from tests.support import builders
from tests.support.sets import DatabasePorts
from tests.support.waiting import eventually

pytestmark = pytest.mark.anyio

HOLD_SECONDS = 60.0


async def enqueue(ports: DatabasePorts, *numbers: int, delay_seconds: float = 0.0) -> None:
    """One transaction for each, so that their order is known."""
    for number in numbers:
        async with ports.database.begin() as uow:
            await uow.enqueue(builders.request(number), delay_seconds=delay_seconds)
            await uow.commit()


async def claim(ports: DatabasePorts, *, limit: int = 100) -> Sequence[OutboxRow]:
    return await ports.relay.claim(limit=limit, hold_seconds=HOLD_SECONDS)


def numbers(rows: Sequence[OutboxRow]) -> list[int]:
    return [int(row.request.media_id) for row in rows]


async def test_a_row_comes_back_with_all_that_was_asked(database_ports: DatabasePorts) -> None:
    request = ProcessRequest(builders.ulid(1), 7, builders.TRACEPARENT)
    async with database_ports.database.begin() as uow:
        await uow.enqueue(request)
        now = uow.now
        await uow.commit()
    [row] = await claim(database_ports)
    assert row.request == request
    assert row.available_at == now


async def test_a_row_is_invisible_before_its_commit(database_ports: DatabasePorts) -> None:
    written, seen = asyncio.Event(), asyncio.Event()

    async def writer() -> None:
        async with database_ports.database.begin() as uow:
            await uow.enqueue(builders.request(1))
            written.set()
            await asyncio.wait({asyncio.create_task(seen.wait())}, timeout=0.2)
            await uow.commit()

    async def reader() -> list[int]:
        await written.wait()
        early = numbers(await claim(database_ports))
        seen.set()
        return early

    _, early = await asyncio.gather(writer(), reader())
    # A set with one transaction at a time answers the reader only after the commit.
    late = numbers(await claim(database_ports))
    assert sorted(early + late) == [1]


async def test_rows_are_claimed_earliest_due_first(database_ports: DatabasePorts) -> None:
    await enqueue(database_ports, 1, delay_seconds=0.3)
    await enqueue(database_ports, 2, 3)
    await enqueue(database_ports, 4, delay_seconds=0.1)
    await eventually(
        database_ports.overview.backlog, until=lambda backlog: backlog.outbox.count == 4
    )
    rows = await claim(database_ports)
    assert numbers(rows) == [2, 3, 4, 1]
    assert [row.available_at for row in rows] == sorted(row.available_at for row in rows)


async def test_a_delayed_row_is_not_offered_before_it_is_due(
    database_ports: DatabasePorts,
) -> None:
    await enqueue(database_ports, 1, delay_seconds=0.3)
    assert await claim(database_ports) == []
    [row] = await eventually(lambda: claim(database_ports))
    async with database_ports.database.begin() as uow:
        assert row.available_at <= uow.now


async def test_claim_takes_no_more_than_its_limit(database_ports: DatabasePorts) -> None:
    await enqueue(database_ports, 1, 2, 3)
    assert numbers(await claim(database_ports, limit=2)) == [1, 2]
    assert numbers(await claim(database_ports, limit=2)) == [3]


async def test_a_held_row_is_offered_to_nobody_else(database_ports: DatabasePorts) -> None:
    await enqueue(database_ports, 1)
    assert numbers(await claim(database_ports)) == [1]
    assert await claim(database_ports) == []


async def test_a_relay_that_falls_silent_gives_its_rows_back(
    database_ports: DatabasePorts,
) -> None:
    await enqueue(database_ports, 1)
    first = await database_ports.relay.claim(limit=10, hold_seconds=0.2)
    again = await eventually(lambda: claim(database_ports))
    assert again == first


async def test_a_released_row_is_offered_at_once(database_ports: DatabasePorts) -> None:
    await enqueue(database_ports, 1, 2)
    rows = await claim(database_ports)
    await database_ports.relay.release([rows[0].id])
    assert await claim(database_ports) == [rows[0]]


async def test_a_published_row_is_never_offered_again(database_ports: DatabasePorts) -> None:
    await enqueue(database_ports, 1, 2)
    rows = await claim(database_ports)
    await database_ports.relay.mark_published([rows[0].id])
    await database_ports.relay.mark_published([rows[0].id])
    await database_ports.relay.release([row.id for row in rows])
    assert await claim(database_ports) == [rows[1]]


async def test_settling_no_rows_or_unknown_ones_is_no_error(database_ports: DatabasePorts) -> None:
    for ids in ([], [123_456]):
        await database_ports.relay.mark_published(ids)
        await database_ports.relay.release(ids)


async def test_two_relays_share_the_rows_without_overlap(database_ports: DatabasePorts) -> None:
    await enqueue(database_ports, *range(1, 21))

    async def drain() -> list[OutboxRow]:
        mine: list[OutboxRow] = []
        while rows := await claim(database_ports, limit=3):
            mine += rows
        return mine

    shares = await asyncio.gather(drain(), drain(), drain())
    assert sorted(number for share in shares for number in numbers(share)) == list(range(1, 21))


async def test_the_id_of_a_row_is_never_used_again(database_ports: DatabasePorts) -> None:
    seen: set[int] = set()
    for number in range(1, 4):
        await enqueue(database_ports, number)
        [row] = await claim(database_ports)
        assert row.id not in seen
        seen.add(row.id)
        await database_ports.relay.mark_published([row.id])
        assert await database_ports.relay.prune(older_than_seconds=0, limit=10) == 1


async def test_pruning_deletes_only_old_published_rows_and_no_more_than_its_limit(
    database_ports: DatabasePorts,
) -> None:
    relay = database_ports.relay
    await enqueue(database_ports, 1, 2, 3, 4)
    rows = await claim(database_ports)
    await relay.mark_published([row.id for row in rows[:3]])
    assert await relay.prune(older_than_seconds=3600, limit=10) == 0
    assert await relay.prune(older_than_seconds=0, limit=2) == 2
    assert await relay.prune(older_than_seconds=0, limit=2) == 1
    assert await relay.prune(older_than_seconds=0, limit=2) == 0
    await relay.release([rows[3].id])
    assert await claim(database_ports) == [rows[3]]


async def test_a_commit_to_the_outbox_wakes_who_waits(database_ports: DatabasePorts) -> None:
    await database_ports.hint.wait(0.2)  # Whatever listens in the background is listening now.
    began = asyncio.get_running_loop().time()
    waiting = asyncio.create_task(database_ports.hint.wait(30.0))
    await asyncio.sleep(0)
    await enqueue(database_ports, 1)
    await waiting
    assert asyncio.get_running_loop().time() - began < 5.0


async def test_a_commit_between_two_waits_is_not_missed(database_ports: DatabasePorts) -> None:
    await database_ports.hint.wait(0.2)
    await enqueue(database_ports, 1)
    began = asyncio.get_running_loop().time()
    await database_ports.hint.wait(30.0)
    assert asyncio.get_running_loop().time() - began < 5.0


async def test_waiting_for_a_hint_ends_with_its_timeout(database_ports: DatabasePorts) -> None:
    began = asyncio.get_running_loop().time()
    for _ in range(3):
        await database_ports.hint.wait(0.05)
    assert asyncio.get_running_loop().time() - began < 5.0
