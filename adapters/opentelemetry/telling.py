"""Tells the log, the metrics and the span in hand what a commit has changed."""

from collections.abc import Sequence
from dataclasses import dataclass

from opentelemetry.trace import Span

from adapters.events import get_logger
from adapters.opentelemetry import changes
from adapters.opentelemetry.instruments import DEAD_LETTERS, STAGE_SECONDS, Kind
from adapters.opentelemetry.metrics import Metrics
from adapters.opentelemetry.tracing import (
    claim_span_id,
    is_processing,
    link_to_claim,
    mark_failed,
    processing_span,
)
from application.values import DeadLetter
from domain.lifecycle import State
from domain.media import Media
from domain.parts import Outcome

_log = get_logger("pipeline.media")
_FAILED = frozenset({Outcome.FAILED, Outcome.POSTPONED, Outcome.LEASE_LOST})


@dataclass(frozen=True, slots=True)
class Committed:
    """The media a commit has changed, each before and after, and the dead letters it has kept."""

    media: Sequence[tuple[Media | None, Media]]
    letters: Sequence[DeadLetter]


class Teller:
    """Emits what follows from a commit. The change is durable by then, so nothing is raised."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def tell(self, done: Committed, seconds: float, span: Span) -> None:
        """`seconds` is how long the commit took; `span` is the one it was done for."""
        try:
            for before, after in done.media:
                self._tell_media(before, after, seconds, span)
            for letter in done.letters:
                self._tell_letter(letter)
        except Exception as error:  # noqa: BLE001  # telemetry must not harm what it watches
            _log.error("telemetry_failed", error=error)

    def _tell_media(self, before: Media | None, after: Media, seconds: float, span: Span) -> None:
        by = "worker" if is_processing() else "dispatcher"
        for fact in changes.facts(before, after, by=by):
            record = (
                self._metrics.add if fact.instrument.kind is Kind.COUNTER else self._metrics.observe
            )
            record(fact.instrument, fact.value, **fact.labels)
        if not changes.is_worth_a_line(before, after):
            return
        _log.info("media_state_changed", **changes.line_fields(before, after))
        span.set_attribute("media.id", after.id)
        if is_processing():
            self._metrics.observe(STAGE_SECONDS, seconds, stage="commit")
            _annotate(processing_span(), before, after)

    def _tell_letter(self, letter: DeadLetter) -> None:
        self._metrics.add(DEAD_LETTERS)
        _log.warning(
            "dead_letter_kept",
            letter_id=letter.id,
            media_id=letter.media_id,
            reason=letter.reason,
        )


def claim_id(span: Span, claim: Media) -> int | None:
    """The computed id for the span of this claim's commit; None where nothing is recorded."""
    if not span.is_recording():
        return None
    return claim_span_id(span.get_span_context().trace_id, claim.id, claim.lease_token)


def _annotate(span: Span, before: Media | None, after: Media) -> None:
    """Attempt number and link when a photo is claimed; the reason when the attempt failed."""
    if not span.is_recording() or before is None:
        return
    span.set_attribute("media.attempt", after.lease_token)
    if after.state is State.PROCESSING:
        if after.lease_token > 1:
            link_to_claim(span, after.id, after.lease_token - 1)
        return
    for attempt in changes.ended_attempts(before, after):
        if attempt.outcome in _FAILED and attempt.error_code is not None:
            mark_failed(span, attempt.error_code.value)
