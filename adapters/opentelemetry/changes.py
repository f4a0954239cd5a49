"""What a committed change of a media means for the metrics and the log. Pure functions."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from adapters.opentelemetry.instruments import (
    ATTEMPT_SECONDS,
    ATTEMPTS,
    FAILURES,
    REQUEUED,
    RETRIES,
    TAKEOVERS,
    TIME_TO_READY,
    UPLOADS_COMPLETED,
    UPLOADS_EXPIRED,
    UPLOADS_REQUESTED,
    Instrument,
)
from application.messages import trace_id_of
from domain.lifecycle import State
from domain.media import Media
from domain.parts import Attempt, Outcome


@dataclass(frozen=True, slots=True)
class Fact:
    """One thing to count or to measure."""

    instrument: Instrument
    value: float = 1.0
    labels: dict[str, str] = field(default_factory=dict[str, str])


def facts(before: Media | None, after: Media, *, by: str) -> Iterator[Fact]:
    """What happened between two committed values of one media; None before it was added.

    `by` is the kind of process that did it, `worker` or `dispatcher`.
    """
    if before is None:
        yield Fact(UPLOADS_REQUESTED)
        return
    if after.requeues > before.requeues:
        yield Fact(REQUEUED)
    for attempt in ended_attempts(before, after):
        yield from _attempt_facts(attempt)
    if _was_silent(before, after):
        yield Fact(TAKEOVERS, labels={"by": by})
    if before.state is not after.state:
        yield from _arrival_facts(before, after)


def ended_attempts(before: Media, after: Media) -> list[Attempt]:
    """Attempts that are over now and were not before, oldest first."""
    open_before = {attempt.number for attempt in before.attempts if attempt.outcome is None}
    return [a for a in after.attempts if a.number in open_before and a.outcome is not None]


def is_worth_a_line(before: Media | None, after: Media) -> bool:
    """A new state, or a new holder of the old one; renewed leases and sweeps are neither."""
    return (
        before is None or before.state is not after.state or before.lease_token != after.lease_token
    )


def line_fields(before: Media | None, after: Media) -> dict[str, Any]:
    """The key-value pairs of the line about this change."""
    ended = ended_attempts(before, after) if before else []
    fields: dict[str, Any] = {
        "media_id": after.id,
        "from": before.state.value if before else None,
        "to": after.state.value,
        "attempt": after.lease_token or None,
        "worker_id": _worker_id(after),
    }
    if ended:
        fields["outcome"], fields["code"] = ended[-1].outcome, ended[-1].error_code
        fields["detail"] = ended[-1].detail
    if after.failure is not None and after.state is State.FAILED:
        fields["code"], fields["detail"] = after.failure.code, after.failure.detail
    if trace_id := trace_id_of(after.traceparent):
        fields["trace_id"] = trace_id
    return fields


def _attempt_facts(attempt: Attempt) -> Iterator[Fact]:
    labels = {"outcome": str(attempt.outcome)}
    yield Fact(ATTEMPTS, labels=labels)
    if attempt.finished_at is not None:
        seconds = (attempt.finished_at - attempt.started_at).total_seconds()
        yield Fact(ATTEMPT_SECONDS, max(seconds, 0.0), labels)


def _was_silent(before: Media, after: Media) -> bool:
    return any(a.outcome is Outcome.LEASE_LOST for a in ended_attempts(before, after))


def _arrival_facts(before: Media, after: Media) -> Iterator[Fact]:
    """What the state that was entered stands for."""
    if after.state is State.UPLOADED and before.state is State.PENDING_UPLOAD:
        yield Fact(UPLOADS_COMPLETED)
    elif after.state is State.EXPIRED:
        yield Fact(UPLOADS_EXPIRED)
    elif after.state is State.RETRYING:
        code = after.attempts[-1].error_code if after.attempts else None
        yield Fact(RETRIES, labels={"code": str(code)})
    elif after.state is State.FAILED and after.failure is not None:
        yield Fact(FAILURES, labels={"code": after.failure.code.value})
    elif after.state is State.READY and after.completed_at is not None:
        seconds = (after.updated_at - after.completed_at).total_seconds()
        yield Fact(TIME_TO_READY, max(seconds, 0.0))


def _worker_id(media: Media) -> str | None:
    if media.worker_id is not None:
        return media.worker_id
    return media.attempts[-1].worker_id if media.attempts else None
