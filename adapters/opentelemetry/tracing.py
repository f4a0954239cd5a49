"""Spans of our own, and the way of a trace through outbox, queue and retries.

The trace of a photo is the trace of the request that completed its upload. That request's
`traceparent` is stored with the photo, travels unchanged in every message about it, and is the
parent of every *process* span: first tries, retries and take-overs all hang under the request.
The relay's *send* span stands in a trace of its own and only links to it, because one relay
batch serves many requests.

The link from an attempt to the one before needs no storage: the commit that claims a photo is a
span whose id is computed from trace, media id and fencing token. The next attempt computes the
same id for the token before its own, and links to it. (The span that is linked to is thus the
claim inside the former *process* span; it is exported even when the worker dies later.)

Spans are made only inside a trace: what loops do on their own, polling above all, has none.
"""

import hashlib
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.trace import (
    INVALID_SPAN,
    Link,
    Span,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    Tracer,
)
from opentelemetry.util.types import AttributeValue

from application.messages import trace_id_of, valid_traceparent
from domain.errors import PipelineError, ProcessingFailed

Attributes = Mapping[str, AttributeValue]

_chosen_id: ContextVar[int | None] = ContextVar("chosen_span_id", default=None)
_processing: ContextVar[Span] = ContextVar("processing_span", default=INVALID_SPAN)


class SpanIds(RandomIdGenerator):
    """Random ids, but for the one span whose id was computed."""

    def generate_span_id(self) -> int:
        chosen = _chosen_id.get()
        if chosen is None:
            return super().generate_span_id()
        _chosen_id.set(None)
        return chosen


class Tracing:
    """Makes spans: `entry` starts a trace or continues a remote one, the rest stay below it."""

    def __init__(self, tracer: Tracer) -> None:
        self._tracer = tracer

    @contextmanager
    def span(
        self,
        name: str,
        attributes: Attributes | None = None,
        *,
        kind: SpanKind = SpanKind.INTERNAL,
        span_id: int | None = None,
    ) -> Generator[Span]:
        """A child of the current span; nothing where there is no sampled one."""
        if not trace.get_current_span().is_recording():
            yield INVALID_SPAN
            return
        _chosen_id.set(span_id)
        with _running(self._tracer, name, kind=kind, attributes=attributes) as span:
            yield span

    @contextmanager
    def entry(
        self,
        name: str,
        attributes: Attributes,
        *,
        kind: SpanKind,
        parent: str | None,
        link: str | None = None,
    ) -> Generator[Span]:
        """The first span of this process in the trace of `parent`, or of a new trace."""
        linked = remote_context(link)
        links = [Link(linked)] if linked else []
        context = Context()
        if remote := remote_context(parent):
            context = trace.set_span_in_context(trace.NonRecordingSpan(remote), context)
        running = _running(
            self._tracer, name, kind=kind, attributes=attributes, context=context, links=links
        )
        with running as span:
            yield span

    def timed(self, name: str, start_ns: int, end_ns: int, attributes: Attributes) -> None:
        """A span that has already happened, below the current one."""
        if trace.get_current_span().is_recording():
            span = self._tracer.start_span(name, start_time=start_ns, attributes=attributes)
            span.end(end_ns)


@contextmanager
def _running(
    tracer: Tracer,
    name: str,
    *,
    kind: SpanKind,
    attributes: Attributes | None,
    context: Context | None = None,
    links: list[Link] | None = None,
) -> Generator[Span]:
    """The current span while the body runs. Errors leave their type, not their text: it may
    hold a signed link or a client's words, and the log has it, redacted.
    """
    with tracer.start_as_current_span(
        name,
        context=context,
        kind=kind,
        attributes=attributes,
        links=links,
        record_exception=False,
        set_status_on_exception=False,
    ) as span:
        try:
            yield span
        except BaseException as error:
            mark_failed(span, error_type(error))
            raise


@contextmanager
def processing(span: Span) -> Generator[None]:
    """Let the database decorator know which span speaks for the attempt under way."""
    token = _processing.set(span)
    try:
        yield
    finally:
        _processing.reset(token)


def processing_span() -> Span:
    """The *process* span of the message in hand, or a span that ignores everything."""
    return _processing.get()


def is_processing() -> bool:
    """Whether a message is in hand, sampled or not."""
    return _processing.get() is not INVALID_SPAN


def mark_failed(span: Span, kind: str) -> None:
    """Set `error.type` and the error status."""
    if span.is_recording():
        span.set_attribute("error.type", kind)
        span.set_status(Status(StatusCode.ERROR, kind))


def error_type(error: BaseException) -> str:
    """The failure code where there is one, else the name of the exception's class."""
    if isinstance(error, ProcessingFailed):
        return error.code.value
    code = getattr(error, "code", None) if isinstance(error, PipelineError) else None
    return code if isinstance(code, str) else type(error).__qualname__


# --- context in and out ----------------------------------------------------------------------


def remote_context(traceparent: str | None) -> SpanContext | None:
    """The span that a W3C traceparent names; None if it is missing, malformed or too long."""
    valid = valid_traceparent(traceparent)
    if valid is None:
        return None
    _, trace_id, span_id, flags = valid.split("-")
    return SpanContext(
        int(trace_id, 16), int(span_id, 16), is_remote=True, trace_flags=TraceFlags(int(flags, 16))
    )


def current_traceparent() -> str | None:
    """The current span as a W3C traceparent; None outside a trace."""
    context = trace.get_current_span().get_span_context()
    if not context.is_valid:
        return None
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"


def current_trace_id() -> str | None:
    """32 hex digits; None outside a trace."""
    return trace_id_of(current_traceparent())


def claim_span_id(trace_id: int, media_id: str, token: int) -> int:
    """The id of the span of the commit that claims this media with this fencing token."""
    digest = hashlib.sha256(f"{trace_id:032x}/{media_id}/{token}".encode()).digest()
    return int.from_bytes(digest[:8]) or 1


def link_to_claim(span: Span, media_id: str, token: int) -> None:
    """Link `span` to the claim of the attempt with `token` of the same photo."""
    if not span.is_recording():
        return
    own = span.get_span_context()
    claim = claim_span_id(own.trace_id, media_id, token)
    former = SpanContext(own.trace_id, claim, is_remote=True, trace_flags=own.trace_flags)
    span.add_link(former, {"media.id": media_id, "media.attempt": token})
