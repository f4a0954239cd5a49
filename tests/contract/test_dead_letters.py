"""What `DeadLetters` promises, on every set."""

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest

from application.ports import Database
from application.values import DeadLetter
from tests.support import builders
from tests.support.builders import NOW
from tests.support.sets import DatabasePorts

pytestmark = pytest.mark.anyio


async def keep(database: Database, *letters: DeadLetter) -> None:
    async with database.begin() as uow:
        for letter in letters:
            await uow.dead_letters.keep(letter)
        await uow.commit()


async def get(database: Database, letter_id: str) -> DeadLetter | None:
    async with database.begin() as uow:
        return await uow.dead_letters.get(letter_id)


async def test_a_letter_comes_back_as_it_was_kept(database_ports: DatabasePorts) -> None:
    readable = builders.letter(1, body=b'{"version":1}')
    unreadable = replace(builders.letter(2, body=bytes(range(256))), media_id=None)
    await keep(database_ports.database, readable, unreadable)
    assert await get(database_ports.database, readable.id) == readable
    assert await get(database_ports.database, unreadable.id) == unreadable
    assert await get(database_ports.database, "letter-3") is None


async def test_a_letter_that_is_there_already_stays_as_it_is(
    database_ports: DatabasePorts,
) -> None:
    database, first = database_ports.database, builders.letter(1)
    await keep(database, first)
    await keep(database, replace(first, reason="delivery_limit", body=b"other"))
    assert await get(database, first.id) == first


async def test_of_two_who_keep_a_letter_at_once_the_first_to_commit_stays(
    database_ports: DatabasePorts,
) -> None:
    database, letter = database_ports.database, builders.letter(1)
    begun, over = asyncio.Event(), asyncio.Event()
    committed: list[bytes] = []

    async def slow() -> None:
        async with database.begin() as uow:
            begun.set()
            # A set with one transaction at a time lets the other one begin only after this one.
            await asyncio.wait({asyncio.create_task(over.wait())}, timeout=0.1)
            await uow.dead_letters.keep(replace(letter, body=b"slow"))
            await uow.commit()
        committed.append(b"slow")

    async def quick() -> None:
        await begun.wait()
        await keep(database, replace(letter, body=b"quick"))
        committed.append(b"quick")
        over.set()

    await asyncio.gather(slow(), quick())
    stored = await get(database, letter.id)
    assert stored is not None
    assert stored.body == committed[0]


async def test_letters_are_listed_newest_first_and_no_more_than_the_limit(
    database_ports: DatabasePorts,
) -> None:
    letters = [
        builders.letter(number, received_at=NOW + timedelta(seconds=seconds))
        for number, seconds in ((1, 5), (2, 30), (3, 10))
    ]
    await keep(database_ports.database, *letters)
    async with database_ports.database.begin() as uow:
        found = await uow.dead_letters.list(limit=10)
        assert [letter.id for letter in found] == ["letter-2", "letter-3", "letter-1"]
        assert [letter.id for letter in await uow.dead_letters.list(limit=1)] == ["letter-2"]


async def test_a_replayed_letter_says_when(database_ports: DatabasePorts) -> None:
    database, letter = database_ports.database, builders.letter(1)
    await keep(database, letter)
    async with database.begin() as uow:
        await uow.dead_letters.mark_replayed(letter.id)
        now = uow.now
        await uow.commit()
    assert await get(database, letter.id) == replace(letter, replayed_at=now)


async def test_a_dismissed_letter_says_when_and_waits_no_more(
    database_ports: DatabasePorts,
) -> None:
    database, letter = database_ports.database, builders.letter(1)
    await keep(database, letter, builders.letter(2))
    async with database.begin() as uow:
        await uow.dead_letters.mark_dismissed(letter.id)
        now = uow.now
        await uow.commit()
    assert await get(database, letter.id) == replace(letter, dismissed_at=now)
    assert (await database_ports.overview.backlog()).dead_letters == 1
