"""What the sweepers share: visit every media whose deadline has passed.

The list is only a hint of where to look. Each visit reads its media again under the lock and lets
the verb decide, so a photo that moved on meanwhile is safe.
"""

from collections.abc import Awaitable, Callable, Iterable

from application.ports import Database
from application.values import Due
from domain.errors import DatabaseUnavailable, Unavailable
from domain.lifecycle import State

PAGE = 100
OUTAGES_MAX = 10  # in a row: then it is the server, and not some objects of it

Visit = Callable[[str], Awaitable[bool]]


class Round:
    """Visits, one after the other. One that fails keeps nobody from the next.

    The database being away ends it at once, another server once several visits in a row say so.
    """

    def __init__(self, visit: Visit) -> None:
        self._visit = visit
        self._moved = 0
        self._outages = 0
        self._failure: Exception | None = None

    async def go(self, dues: Iterable[Due]) -> None:
        """Call `visit` with each id."""
        for due in dues:
            try:
                self._moved += await self._visit(due.media_id)
                self._outages = 0
            except DatabaseUnavailable:
                raise
            except Unavailable as outage:
                self._outages += 1
                if self._outages >= OUTAGES_MAX:
                    raise
                self._failure = self._failure or outage
            except Exception as failure:  # noqa: BLE001 - raised at the end; the others come first
                self._failure = self._failure or failure

    def result(self) -> int:
        """How many visits moved something. Raises what the first that failed has raised."""
        if self._failure is not None:
            raise self._failure
        return self._moved


async def sweep(
    database: Database, states: frozenset[State], visit: Visit, *, pages_max: int = 100
) -> int:
    """Call `visit` with each id, page after page, past those it skips; returns how many it moved.

    Bounded by `pages_max`: what is left is found by the next round. A visit that raises is gone
    past, and its error raised at the end (see `Round`).
    """
    visits, cursor = Round(visit), None
    for _ in range(pages_max):
        page = await _page(database, states, cursor)
        await visits.go(page)
        if len(page) < PAGE:
            break
        cursor = page[-1]
    return visits.result()


async def _page(database: Database, states: frozenset[State], cursor: Due | None) -> list[Due]:
    async with database.begin() as uow:
        return list(await uow.media.due(states, limit=PAGE, after=cursor))
