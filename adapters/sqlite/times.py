"""Time as SQLite keeps it, microseconds since 1970 UTC, and a clock that never goes back."""

import sqlite3
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

Clock = Callable[[], datetime]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_SQLITE_NOW = """
SELECT CAST(strftime('%s', 'now') AS INTEGER) * 1000000
    + CAST(substr(strftime('%f', 'now'), 4) AS INTEGER) * 1000
"""


def to_micros(moment: datetime) -> int:
    return (moment - _EPOCH) // _MICROSECOND


def from_micros(micros: int) -> datetime:
    return _EPOCH + micros * _MICROSECOND


def seconds_to_micros(seconds: float) -> int:
    return round(seconds * 1_000_000)


def read_clock(connection: sqlite3.Connection, clock: Clock | None) -> datetime:
    """The time by `clock`, or by SQLite itself, which knows milliseconds."""
    if clock is not None:
        return clock()
    return from_micros(connection.execute(_SQLITE_NOW).fetchone()[0])


class SteadyTime:
    """Times that never go back, though the wall clock may.

    A transaction builds on what the last one has committed, its times included: an attempt that
    ends before it began, or a lease that comes to life again, would be nonsense. Where the wall
    clock was set back, time goes on from the last moment by `ticks` (monotonic seconds) instead
    of standing still, or no lease and no retry would come due until the clock has caught up.
    Kept in memory only: a restart trusts the wall clock again.
    """

    def __init__(self, ticks: Callable[[], float]) -> None:
        self._ticks = ticks
        self._last: tuple[datetime, float] | None = None

    def advance(self, wall: datetime) -> datetime:
        tick = self._ticks()
        if self._last is not None and wall < self._last[0]:
            wall = self._last[0] + timedelta(seconds=max(0.0, tick - self._last[1]))
        self._last = (wall, tick)
        return wall
