"""What the sweepers share: visit every media whose deadline has passed.

The list is only a hint of where to look. Each visit reads its media again under the lock and lets
the verb decide, so a photo that moved on meanwhile is safe.
"""

from collections.abc import Awaitable, Callable

from application.ports import Database
from application.values import Due
from domain.lifecycle import State

PAGE = 100


async def sweep(
    database: Database,
    states: frozenset[State],
    visit: Callable[[str], Awaitable[bool]],
    *,
    pages_max: int = 100,
) -> int:
    """Call `visit` with each id, page after page, past those it skips; returns how many it moved.

    Bounded by `pages_max`: what is left is found by the next round.
    """
    moved, cursor = 0, None
    for _ in range(pages_max):
        page = await _page(database, states, cursor)
        for due in page:
            moved += await visit(due.media_id)
        if len(page) < PAGE:
            break
        cursor = page[-1]
    return moved


async def _page(database: Database, states: frozenset[State], cursor: Due | None) -> list[Due]:
    async with database.begin() as uow:
        return list(await uow.media.due(states, limit=PAGE, after=cursor))
