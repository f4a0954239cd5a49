"""Traces and metrics, wrapped around ports and use cases from outside."""

from adapters.opentelemetry.database import ObservedDatabase
from adapters.opentelemetry.engine import ObservedEngine
from adapters.opentelemetry.gauges import BacklogPoller, ObservedDependency
from adapters.opentelemetry.http import ObservedHTTP
from adapters.opentelemetry.instruments import Role
from adapters.opentelemetry.messages import MessageTelemetry, ObservedPublisher
from adapters.opentelemetry.providers import Telemetry
from adapters.opentelemetry.store import ObservedStore
from adapters.opentelemetry.tracing import current_trace_id, current_traceparent
from adapters.opentelemetry.use_cases import ObservedCompleteUpload

__all__ = [
    "BacklogPoller",
    "MessageTelemetry",
    "ObservedCompleteUpload",
    "ObservedDatabase",
    "ObservedDependency",
    "ObservedEngine",
    "ObservedHTTP",
    "ObservedPublisher",
    "ObservedStore",
    "Role",
    "Telemetry",
    "current_trace_id",
    "current_traceparent",
]
