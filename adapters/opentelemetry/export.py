"""Export of spans that bothers nobody when there is no collector."""

import logging
from collections.abc import Sequence

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from adapters.events import get_logger

_log = get_logger(__name__)
_NOISY = (
    "opentelemetry.exporter.otlp.proto.http.trace_exporter",
    "opentelemetry.sdk._shared_internal",  # one line for each span that finds the queue full
    "opentelemetry.sdk.trace.export",
)


class LastWords(logging.Filter):
    """Keeps a library's lines out of the log and remembers the latest, as the reason."""

    def __init__(self) -> None:
        super().__init__()
        self.text = ""

    def filter(self, record: logging.LogRecord) -> bool:
        self.text = record.getMessage()
        return False

    def listen(self) -> None:
        for name in _NOISY:
            logger = logging.getLogger(name)
            for former in [f for f in logger.filters if isinstance(f, LastWords)]:
                logger.removeFilter(former)
            logger.addFilter(self)


class ReportingExporter(SpanExporter):
    """Says once that export began to fail, and once that it works again; never each try.

    Runs in the batch processor's own thread. A failed batch is lost, on purpose: spans wait in a
    queue with a limit, so that a missing collector costs neither time nor memory.
    """

    def __init__(self, inner: SpanExporter, endpoint: str, reason: LastWords) -> None:
        self._inner = inner
        self._endpoint = endpoint
        self._reason = reason
        self._lost = 0

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        result = self._inner.export(spans)
        if result is SpanExportResult.SUCCESS:
            if self._lost:
                _log.info("trace_export_recovered", endpoint=self._endpoint, lost_spans=self._lost)
            self._lost = 0
            return result
        if not self._lost:
            _log.warning("trace_export_failing", endpoint=self._endpoint, reason=self._reason.text)
        self._lost += len(spans)
        return result

    def shutdown(self) -> None:
        self._inner.shutdown()

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        return self._inner.force_flush(timeout_millis)


def otlp_exporter(endpoint: str) -> ReportingExporter:
    """Spans to `endpoint`, a collector's base address such as http://localhost:4318, by HTTP."""
    reason = LastWords()
    reason.listen()
    address = f"{endpoint.rstrip('/')}/v1/traces"
    return ReportingExporter(OTLPSpanExporter(endpoint=address), endpoint, reason)
