"""How use cases run a transaction: again on a conflict, or for as long as the database is away."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from application.ports import Database, Ids, UnitOfWork
from domain.errors import DatabaseUnavailable, VersionConflict

T = TypeVar("T")
Work = Callable[[UnitOfWork], Awaitable[T]]

CONFLICT_TRIES = 10
PATIENCE_BASE_SECONDS = 0.1
PATIENCE_CAP_SECONDS = 1.0


async def transact(database: Database, work: Work[T]) -> T:
    """Run `work`, which commits itself, in a fresh transaction; anew if somebody was faster."""
    for _ in range(CONFLICT_TRIES - 1):
        try:
            async with database.begin() as uow:
                return await work(uow)
        except VersionConflict:
            continue
    async with database.begin() as uow:
        return await work(uow)


async def transact_patiently(database: Database, ids: Ids, work: Work[T]) -> T:
    """As `transact`, and again, with jitter, for as long as the database does not answer.

    An unanswered commit may have happened: `work` must recognise its own effect when it is
    run a second time.
    """
    tries = 0
    while True:
        try:
            return await transact(database, work)
        except DatabaseUnavailable:
            ceiling = min(PATIENCE_CAP_SECONDS, PATIENCE_BASE_SECONDS * 2 ** min(tries, 10))
            await asyncio.sleep(ceiling * ids.fraction())
            tries += 1
