"""Export: a missing collector costs one warning and no time."""

import logging
import socket
import time
from collections.abc import Sequence

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.trace import SpanKind

from adapters.opentelemetry.export import LastWords, ReportingExporter
from adapters.opentelemetry.providers import Telemetry
from adapters.opentelemetry.tracing import current_trace_id, current_traceparent


class ScriptedExporter(SpanExporter):
    def __init__(self, *results: bool) -> None:
        self.results = list(results)

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        del spans
        works = self.results.pop(0)
        if not works:
            logger = logging.getLogger("opentelemetry.exporter.otlp.proto.http.trace_exporter")
            logger.error("Failed to export: connection refused")
        return SpanExportResult.SUCCESS if works else SpanExportResult.FAILURE


def events(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records]


def test_failing_export_is_said_once_and_so_is_its_end(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    reason = LastWords()
    reason.listen()
    inner = ScriptedExporter(True, *[False] * 20, True, True)
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(ReportingExporter(inner, "http://c", reason)))
    for _ in range(23):
        provider.get_tracer("test").start_span("span").end()

    assert events(caplog) == ["trace_export_failing", "trace_export_recovered"]
    assert "connection refused" in vars(caplog.records[0])["event_fields"]["reason"]
    assert vars(caplog.records[1])["event_fields"]["lost_spans"] == 20


def test_an_unreachable_collector_slows_nothing_and_shutdown_is_bounded(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with socket.socket() as deaf:  # accepts connections and never answers
        deaf.bind(("127.0.0.1", 0))
        deaf.listen()
        address = f"http://127.0.0.1:{deaf.getsockname()[1]}"
        started = time.monotonic()
        telemetry = Telemetry.start("api", "1", otlp_endpoint=address)
        for _ in range(3000):  # more than the queue holds
            with telemetry.tracing.entry("GET", {}, kind=SpanKind.SERVER, parent=None):
                assert current_traceparent()
        # One export that waits for this collector takes 10 s: OTEL_EXPORTER_OTLP_TIMEOUT.
        assert time.monotonic() - started < 8
        assert telemetry.shutdown(timeout_seconds=0.2) is False
        assert time.monotonic() - started < 9
    assert len(events(caplog)) <= 1


def test_without_a_collector_requests_have_a_trace_id_and_cost_no_spans() -> None:
    telemetry = Telemetry.start("api", "1")
    with telemetry.tracing.entry("GET", {}, kind=SpanKind.SERVER, parent=None) as span:
        assert not span.is_recording()
        assert len(current_trace_id() or "") == 32
    assert current_trace_id() is None
    assert telemetry.shutdown() is True


def test_shutdown_twice_is_no_error() -> None:
    telemetry = Telemetry.start("api", "1", otlp_endpoint="http://127.0.0.1:9")
    telemetry.shutdown(timeout_seconds=1)
    telemetry.shutdown(timeout_seconds=1)
