"""Stock instrumentation where it serves: one span for each query of asyncpg.

Its spans appear only below one of ours: a poll makes none. Attribute names are the stable ones if
OTEL_SEMCONV_STABILITY_OPT_IN contains `database`, which the library reads itself. Parameters of
queries are never captured.

The stock ones for ASGI (see `http`), aio-pika (see `messages`) and botocore are not used. The
last one sees nothing: image bytes do not pass through botocore, and `ObservedStore` has spans.
"""

import re
from typing import Any

from opentelemetry import trace
from opentelemetry.instrumentation.asyncpg import (  # pyright: ignore[reportMissingTypeStubs]
    AsyncPGInstrumentor,
)
from opentelemetry.sdk.trace import TracerProvider

# Our span `commit` tells of the last; the others say nothing, and all are two of five queries.
_BOUNDARIES = frozenset({"BEGIN", "COMMIT", "ROLLBACK"})


class _Instrumentor(AsyncPGInstrumentor):
    """Names spans by the first word of a statement, which in `.sql` files follows a comment.

    Where nothing is recorded it steps aside: ten queries a photo would each describe a span that
    nobody will see. It makes none for the boundaries of a transaction either.
    """

    _leading_comment_remover = re.compile(r"^(?:\s*(?:--[^\n]*\n|/\*.*?\*/))*", re.DOTALL)

    def _do_execute(self, func: Any, instance: Any, args: Any, kwargs: Any) -> Any:
        if trace.get_current_span().is_recording() and args[0] not in _BOUNDARIES:
            return super()._do_execute(func, instance, args, kwargs)  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType] - not annotated
        return func(*args, **kwargs)


def instrument_libraries(tracers: TracerProvider) -> None:
    """Patch asyncpg in this process; a second call changes nothing."""
    instrumentor = _Instrumentor()
    if not instrumentor.is_instrumented_by_opentelemetry:
        instrumentor.instrument(tracer_provider=tracers)


def restore_libraries() -> None:
    """Undo `instrument_libraries`."""
    instrumentor = _Instrumentor()
    if instrumentor.is_instrumented_by_opentelemetry:
        instrumentor.uninstrument()
