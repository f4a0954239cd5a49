"""The wall clock."""

from datetime import UTC, datetime


def utc_now() -> datetime:
    """The time of this machine, timezone-aware UTC; it may jump when the clock is set."""
    return datetime.now(UTC)
