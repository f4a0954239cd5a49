"""The values a media is made of: its attempts, and what a finished attempt leaves."""

from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum

from domain.failure import FailureCode


class Outcome(StrEnum):
    """How one try at a photo ended."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"  # charged
    POSTPONED = "postponed"  # a server was down: not charged
    RELEASED = "released"  # the worker was stopped in good order: not charged
    LEASE_LOST = "lease-lost"  # the worker fell silent: charged


_GIVEN_BACK = frozenset({Outcome.POSTPONED, Outcome.RELEASED})


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One try. `number` counts every try from 1, charged or not, and equals its fencing token."""

    number: int
    worker_id: str
    started_at: datetime
    finished_at: datetime | None = None
    outcome: Outcome | None = None
    error_code: FailureCode | None = None
    detail: str | None = None


def close_latest(
    attempts: tuple[Attempt, ...],
    now: datetime,
    outcome: Outcome,
    code: FailureCode | None,
    detail: str | None,
) -> tuple[Attempt, ...]:
    """The attempts, the latest of them ended, unless it has ended already."""
    if not attempts or attempts[-1].outcome is not None:
        return attempts
    latest = replace(attempts[-1], finished_at=now, outcome=outcome, error_code=code, detail=detail)
    return (*attempts[:-1], latest)


def excuse_silence(
    attempts: tuple[Attempt, ...], number: int, charged: int, code: FailureCode, detail: str
) -> tuple[Attempt, ...] | None:
    """The attempts, this one no longer LEASE_LOST but POSTPONED.

    None if it did not end so, or is not among the latest `charged` ones that were charged.
    """
    counted = latest_charged(attempts, charged)
    lost = next((one for one in counted if one.number == number), None)
    if lost is None or lost.outcome is not Outcome.LEASE_LOST:
        return None
    excused = replace(lost, outcome=Outcome.POSTPONED, error_code=code, detail=detail)
    return tuple(excused if one is lost else one for one in attempts)


def latest_charged(attempts: tuple[Attempt, ...], count: int) -> list[Attempt]:
    """The latest `count` attempts that were charged, one that still runs among them."""
    charged = [one for one in attempts if one.outcome not in _GIVEN_BACK]
    return charged[max(0, len(charged) - count) :]


def count_latest(attempts: tuple[Attempt, ...], outcome: Outcome) -> int:
    """How many of the latest finished attempts, in a row, ended like this."""
    count = 0
    for attempt in reversed([one for one in attempts if one.outcome is not None]):
        if attempt.outcome is not outcome:
            break
        count += 1
    return count


@dataclass(frozen=True, slots=True, kw_only=True)
class Original:
    """What the decoder found. Width and height in pixels after orientation; SHA-256 in hex."""

    sha256: str
    width: int
    height: int
    format: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """One finished picture in the object store. SHA-256 in hex; `recipe` is the recipe's hash."""

    name: str
    key: str
    content_type: str
    width: int
    height: int
    bytes: int
    sha256: str
    recipe: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Placeholder:
    """What to show until a variant has loaded: ThumbHash in base64, colour as `#rrggbb`."""

    thumbhash: str
    average_color: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """All that a finished attempt adds to the media."""

    original: Original
    variants: tuple[Variant, ...]
    placeholder: Placeholder | None
