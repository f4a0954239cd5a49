"""Telemetry whose spans and metrics a test can read."""

from collections.abc import Generator
from contextlib import contextmanager

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from prometheus_client.parser import text_string_to_metric_families

from adapters.memory.database import MemoryDatabase
from adapters.opentelemetry import (
    MessageTelemetry,
    ObservedCompleteUpload,
    ObservedDatabase,
    ObservedEngine,
    ObservedPublisher,
    ObservedStore,
    Telemetry,
    current_traceparent,
)
from adapters.opentelemetry.instruments import Instrument, Kind
from adapters.opentelemetry.tracing import Tracing
from adapters.postgres.database import PostgresDatabase
from application.complete_upload import CompleteUpload
from application.make_variants import MakeVariants
from application.messages import decode
from application.ports import Queue
from application.process_media import Lease, ProcessMedia
from application.record_dead_letters import RecordDeadLetters
from application.recover_leases import RecoverLeases
from application.relay_outbox import RelayOutbox
from application.request_upload import RequestUpload, UploadTerms
from domain.media import Media
from domain.recipe import default_recipe
from tests.support.builders import LEASE_SECONDS
from tests.support.pipeline import MAX_BYTES, PHOTO, Pipeline


class Watched:
    """A `Telemetry` with eyes."""

    def __init__(self) -> None:
        self.exporter = InMemorySpanExporter()
        self.telemetry = Telemetry.start(
            "image-pipeline-test", "1.2.3", processors=[SimpleSpanProcessor(self.exporter)]
        )
        self.metrics = self.telemetry.metrics
        self.tracing: Tracing = self.telemetry.tracing

    def spans(self) -> dict[str, ReadableSpan]:
        """Finished spans by name; the latest of each name."""
        return {span.name: span for span in self.exporter.get_finished_spans()}

    def value(self, instrument: Instrument, /, **labels: str) -> float:
        """Sum of a counter or gauge, or number of values of a histogram, over matching labels."""
        name = instrument.prometheus_name
        if instrument.kind is Kind.HISTOGRAM:
            name += "_count"
        return sum(
            sample.value
            for family in text_string_to_metric_families(self.page())
            for sample in family.samples
            if sample.name == name and labels.items() <= sample.labels.items()
        )

    def page(self) -> str:
        return self.telemetry.render_metrics()[0].decode()


@contextmanager
def watching() -> Generator[Watched]:
    watched = Watched()
    try:
        yield watched
    finally:
        watched.telemetry.shutdown()


def identity(span: ReadableSpan) -> tuple[int, int]:
    """Trace id and span id."""
    context = span.get_span_context()
    assert context is not None
    return context.trace_id, context.span_id


class WatchedPipeline:
    """The use cases on the memory set, as entry points compose them: every port observed."""

    def __init__(
        self,
        pipeline: Pipeline,
        watched: "Watched | Telemetry",
        database: MemoryDatabase | PostgresDatabase | None = None,
    ) -> None:
        self.pipeline = pipeline
        metrics, tracing = watched.metrics, watched.tracing
        inner = database or pipeline.database
        self.database = ObservedDatabase(inner, metrics, tracing, system="memory")
        self.store = ObservedStore(pipeline.store, metrics, tracing)
        self.engine = ObservedEngine(pipeline.engine, metrics, tracing)
        self.messages = MessageTelemetry(metrics, tracing, system="memory")
        terms = UploadTerms(max_bytes=MAX_BYTES, link_seconds=900)
        self.request_upload = RequestUpload(
            database=self.database, signer=pipeline.store, ids=pipeline.ids, terms=terms
        )
        self.complete_upload = ObservedCompleteUpload(
            CompleteUpload(
                database=self.database,
                store=self.store,
                policy=pipeline.policy,
                max_bytes=MAX_BYTES,
            ),
            metrics,
            tracing,
        )
        publisher = ObservedPublisher(pipeline.broker, metrics, tracing, system="memory")
        self.relay_outbox = RelayOutbox(relay=inner.relay, publisher=publisher)
        self.recover_leases = RecoverLeases(
            database=self.database,
            policy=pipeline.policy,
            lease_seconds=LEASE_SECONDS,
        )
        self.record_dead_letters = RecordDeadLetters(database=self.database, policy=pipeline.policy)

    async def uploaded(self, body: bytes = PHOTO) -> Media:
        """A media whose photo has been PUT."""
        ticket = await self.request_upload(content_type="image/jpeg", file_name="test.jpg")
        self.pipeline.store.put(ticket.url, body, ticket.headers)
        return ticket.media

    async def complete(self, media: Media, traceparent: str | None = None) -> Media:
        """The client's call, as an entry point makes it."""
        completion = await self.complete_upload(
            media_id=media.id,
            original_key=media.original_key,
            traceparent=traceparent or current_traceparent(),
        )
        return completion.media

    async def deliver(self, worker_id: str = "worker-1") -> str | None:
        """Relay what is due, and handle one delivery as a worker does; its outcome."""
        await self.relay_outbox()
        consumer = await self.pipeline.broker.consume(Queue.PROCESS, prefetch=1)
        delivery = await consumer.receive()
        request = decode(delivery.body, delivery.headers)
        with self.messages.process_span(request, delivery) as handling:
            outcome = await self._worker(worker_id)(request, self.pipeline.stopping)
            handling.finished(outcome)
            with handling.settling("ack"):
                await delivery.ack()
        await consumer.close()
        return handling.outcome

    def _worker(self, worker_id: str) -> ProcessMedia:
        pipeline = self.pipeline
        variants = MakeVariants(
            store=self.store,
            engine=self.engine,
            scratch=pipeline.scratch,
            recipe=default_recipe(),
            max_bytes=MAX_BYTES,
        )
        return ProcessMedia(
            database=self.database,
            store=self.store,
            make_variants=variants,
            ids=pipeline.ids,
            policy=pipeline.policy,
            lease=Lease(worker_id=worker_id, seconds=LEASE_SECONDS),
            on_defect=lambda media_id, error: pipeline.defects.append((media_id, error)),
        )
