"""Spans and counts of messages, by the semantic conventions for messaging.

The stock instrumentation of aio-pika is not used: it replaces the `traceparent` of the request
by that of the relay, and the trace would end in the outbox.
"""

from collections.abc import Generator, Mapping
from contextlib import contextmanager

from opentelemetry.trace import Span, SpanKind

from adapters.events import bind
from adapters.opentelemetry.instruments import (
    DUPLICATES,
    IN_FLIGHT,
    PROCESSED,
    PUBLISHED,
    REDELIVERIES,
    STALE_RESULTS,
)
from adapters.opentelemetry.metrics import Metrics
from adapters.opentelemetry.tracing import Tracing, error_type, mark_failed, processing
from application.messages import TRACEPARENT, ProcessRequest, decode
from application.ports import Delivery, Publisher, Queue
from application.process_media import Processed
from domain.errors import MalformedMessage, UnroutableMessage


class ObservedPublisher(Publisher):
    """A span `send media.process` in a trace of its own, linked to the request's.

    Headers pass unchanged: the worker's span is to be a child of the request, not of the relay.
    """

    def __init__(
        self, inner: Publisher, metrics: Metrics, tracing: Tracing, *, system: str = "rabbitmq"
    ) -> None:
        self._inner = inner
        self._metrics = metrics
        self._tracing = tracing
        self._system = system

    async def publish(self, message_id: str, body: bytes, headers: Mapping[str, str]) -> None:
        attributes = _attributes(self._system, "send", message_id)
        entry = self._tracing.entry(
            f"send {Queue.PROCESS}",
            attributes,
            kind=SpanKind.PRODUCER,
            parent=None,
            link=headers.get(TRACEPARENT),
        )
        with entry as span:
            _name_media(span, body, headers)
            outcome = "unconfirmed"
            try:
                await self._inner.publish(message_id, body, headers)
                outcome = "confirmed"
            except UnroutableMessage:
                outcome = "returned"
                raise
            finally:
                self._metrics.add(PUBLISHED, outcome=outcome)


class Handling:
    """A message in hand: says what became of it, once."""

    def __init__(self, span: Span, metrics: Metrics, tracing: Tracing, system: str) -> None:
        self._span = span
        self._metrics = metrics
        self._tracing = tracing
        self._system = system
        self.outcome: str | None = None

    def finished(self, outcome: str) -> None:
        """`outcome` is a value of `Processed`, or `requeued` if the delivery is handed back.

        `error` is one that met a defect.
        """
        self.outcome = outcome
        self._metrics.add(PROCESSED, outcome=outcome)
        self._span.set_attribute("pipeline.outcome", outcome)
        if outcome == Processed.DUPLICATE:
            self._metrics.add(DUPLICATES, source="delivery")
        elif outcome == Processed.STALE:
            self._metrics.add(STALE_RESULTS)
            mark_failed(self._span, "lease-lost")

    @contextmanager
    def settling(self, answer: str) -> Generator[None]:
        """A span around the settling of the delivery; `answer` is ack, dead_letter or requeue."""
        attributes = {
            "messaging.system": self._system,
            "messaging.operation.type": "settle",
            "messaging.operation.name": answer,
            "messaging.destination.name": Queue.PROCESS.value,
        }
        name = f"settle {Queue.PROCESS}"
        with self._tracing.span(name, attributes, kind=SpanKind.CLIENT):
            yield


class MessageTelemetry:
    """For the worker: the *process* span of each delivery."""

    def __init__(self, metrics: Metrics, tracing: Tracing, *, system: str = "rabbitmq") -> None:
        self._metrics = metrics
        self._tracing = tracing
        self._system = system
        self._in_flight = 0
        metrics.watch_value(IN_FLIGHT, lambda: self._in_flight)

    @contextmanager
    def process_span(self, request: ProcessRequest, delivery: Delivery) -> Generator[Handling]:
        """Everything done for this message, its settling included, belongs inside.

        The span is a child of the request that completed the upload; attempt number, link to the
        former attempt and failure code are added by `ObservedDatabase` as they become durable.
        An exception that leaves the body is counted as `error`.
        """
        if delivery.redelivered:
            self._metrics.add(REDELIVERIES)
        attributes = _attributes(self._system, "process", delivery.message_id)
        attributes |= {"media.id": request.media_id, "messaging.redelivered": delivery.redelivered}
        entry = self._tracing.entry(
            f"process {Queue.PROCESS}",
            attributes,
            kind=SpanKind.CONSUMER,
            parent=request.traceparent,
        )
        with bind(media_id=request.media_id), entry as span, processing(span):
            handling = Handling(span, self._metrics, self._tracing, self._system)
            self._in_flight += 1
            try:
                yield handling
            except Exception as error:
                mark_failed(span, error_type(error))
                if handling.outcome is None:
                    handling.finished("error")
                raise
            finally:
                self._in_flight -= 1

    def malformed(self, delivery: Delivery) -> None:
        """Count a delivery that names no photo, and so belongs to no trace."""
        if delivery.redelivered:
            self._metrics.add(REDELIVERIES)
        self._metrics.add(PROCESSED, outcome="malformed")


def _attributes(system: str, operation: str, message_id: str) -> dict[str, str | bool]:
    return {
        "messaging.system": system,
        "messaging.operation.type": operation,
        "messaging.operation.name": operation,
        "messaging.destination.name": Queue.PROCESS.value,
        "messaging.message.id": message_id[:128],
    }


def _name_media(span: Span, body: bytes, headers: Mapping[str, str]) -> None:
    if span.is_recording():
        try:
            span.set_attribute("media.id", decode(body, headers).media_id)
        except MalformedMessage:
            return
