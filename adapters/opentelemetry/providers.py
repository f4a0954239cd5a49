"""Sets telemetry up for one process, and takes it down within a bounded time."""

import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from opentelemetry.exporter.prometheus import PrometheusMetricReader
from opentelemetry.sdk.metrics import AlwaysOffExemplarFilter, MeterProvider
from opentelemetry.sdk.metrics.export import MetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ParentBased, Sampler
from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

from adapters.opentelemetry.export import otlp_exporter
from adapters.opentelemetry.instruments import BUILD_INFO, Role
from adapters.opentelemetry.metrics import Metrics
from adapters.opentelemetry.tracing import SpanIds, Tracing

_SCOPE = "image-pipeline"


@dataclass(frozen=True, slots=True, kw_only=True)
class Telemetry:
    """The telemetry of one process. Nothing is global: hand it to what is to be observed."""

    metrics: Metrics
    tracing: Tracing
    library_tracers: TracerProvider
    _registry: CollectorRegistry
    _meters: MeterProvider
    _closing: threading.Thread
    _closed: threading.Event = field(default_factory=threading.Event)
    _scraping: threading.Lock = field(default_factory=threading.Lock)

    @classmethod
    def start(
        cls,
        service_name: str,
        version: str,
        *,
        roles: Iterable[Role] = frozenset(Role),
        instance_id: str | None = None,
        otlp_endpoint: str | None = None,
        processors: Sequence[SpanProcessor] = (),
        readers: Sequence[MetricReader] = (),
    ) -> "Telemetry":
        """Spans go to `otlp_endpoint` (base address, OTLP over HTTP) and to `processors`.

        With neither, nothing is sampled, yet every request has a trace id. Sampling, batching and
        time limits follow the standard OTEL_* variables, which the SDK reads itself. Returns at
        once: no collector is called here.
        """
        attributes = {"service.name": service_name, "service.version": version}
        if instance_id:
            attributes["service.instance.id"] = instance_id
        resource = Resource.create(attributes)
        sinks = list(processors)
        if otlp_endpoint:
            sinks.append(BatchSpanProcessor(otlp_exporter(otlp_endpoint)))
        # None lets the standard variables decide. Libraries never start a trace of their own.
        tracers = _tracers(resource, sinks, None if sinks else ALWAYS_OFF)
        library = _tracers(resource, sinks, ParentBased(ALWAYS_OFF))
        registry, meters = _meters(resource, readers)
        metrics = Metrics(meters.get_meter(_SCOPE, version), roles)
        release = {"version": version, "service": service_name}
        metrics.watch(BUILD_INFO, lambda: [(release, 1)])
        return cls(
            metrics=metrics,
            tracing=Tracing(tracers.get_tracer(_SCOPE, version)),
            library_tracers=library,
            _registry=registry,
            _meters=meters,
            _closing=threading.Thread(target=tracers.shutdown, daemon=True),
        )

    def render_metrics(self) -> tuple[bytes, str]:
        """The metrics page and its content type. Some milliseconds; also after `shutdown`."""
        with self._scraping:  # the exporter's collector mixes up scrapes that overlap
            return generate_latest(self._registry), CONTENT_TYPE_PLAIN_0_0_4

    def shutdown(self, timeout_seconds: float = 5.0) -> bool:
        """Send what is left; False if that took longer than `timeout_seconds` and was left undone.

        Blocks: call it last, or in a thread.
        """
        if not self._closed.is_set():
            self._closed.set()
            self._closing.start()
            self._meters.shutdown(timeout_millis=timeout_seconds * 1000)
        self._closing.join(timeout_seconds)
        return not self._closing.is_alive()


def _tracers(
    resource: Resource, sinks: Sequence[SpanProcessor], sampler: Sampler | None
) -> TracerProvider:
    provider = TracerProvider(
        resource=resource, sampler=sampler, id_generator=SpanIds(), shutdown_on_exit=False
    )
    for sink in sinks:
        provider.add_span_processor(sink)
    return provider


def _meters(
    resource: Resource, readers: Sequence[MetricReader]
) -> tuple[CollectorRegistry, MeterProvider]:
    registry = CollectorRegistry(auto_describe=False)
    ProcessCollector(registry=registry)
    page = PrometheusMetricReader(scope_info_enabled=False, registry=registry)
    provider = MeterProvider(
        metric_readers=[page, *readers],
        resource=resource,
        shutdown_on_exit=False,
        exemplar_filter=AlwaysOffExemplarFilter(),
    )
    return registry, provider
