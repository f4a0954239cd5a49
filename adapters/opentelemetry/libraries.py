"""Stock instrumentation of the drivers, where it serves: one span a query, one a call to S3.

Their spans appear only below one of ours: a poll makes none. Attribute names are the stable ones
if OTEL_SEMCONV_STABILITY_OPT_IN contains `database`, which the libraries read themselves. Query
parameters are never captured.
"""

from opentelemetry.instrumentation.asyncpg import (  # pyright: ignore[reportMissingTypeStubs]
    AsyncPGInstrumentor,
)
from opentelemetry.instrumentation.botocore import (  # pyright: ignore[reportMissingTypeStubs]
    AiobotocoreInstrumentor,
)
from opentelemetry.sdk.trace import TracerProvider


def instrument_libraries(tracers: TracerProvider) -> None:
    """Patch asyncpg and aiobotocore in this process; a second call changes nothing."""
    for instrumentor in (AsyncPGInstrumentor(), AiobotocoreInstrumentor()):
        if not instrumentor.is_instrumented_by_opentelemetry:
            instrumentor.instrument(tracer_provider=tracers)


def restore_libraries() -> None:
    """Undo `instrument_libraries`."""
    for instrumentor in (AsyncPGInstrumentor(), AiobotocoreInstrumentor()):
        if instrumentor.is_instrumented_by_opentelemetry:
            instrumentor.uninstrument()
