"""Where the processor time of a worker goes: a look at the stack each millisecond of it.

The kernel's profiling timer counts the process's own processor time, so waiting is not seen. A
sample belongs to the innermost frame that names a part; frames of libraries count for the port
behind which they work.
"""

import json
import signal
from collections import Counter
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

PERIOD_SECONDS = 0.001

# First match wins, from the innermost frame outwards; each is a part of a path and, or, a function.
_PARTS: tuple[tuple[str, str, str], ...] = (
    ("/opentelemetry/", "", "telemetry"),
    ("/adapters/logs/", "", "telemetry"),
    ("/logging/", "", "telemetry"),
    ("/adapters/opentelemetry/telling", "", "telemetry"),
    ("/adapters/opentelemetry/changes", "", "telemetry"),
    ("/adapters/opentelemetry/metrics", "", "telemetry"),
    ("/adapters/opentelemetry/tracing", "", "telemetry"),
    ("/aiormq/", "", "message"),
    ("/aio_pika/", "", "message"),
    ("/pamqp/", "", "message"),
    ("/adapters/rabbitmq/", "", "message"),
    ("/asyncpg/", "", "database"),
    ("/adapters/postgres/", "", "database"),
    ("/adapters/rows", "", "database"),
    ("/adapters/minio/store", "download", "download"),
    ("/adapters/minio/store", "_save", "download"),
    ("/adapters/minio/store", "upload", "uploads"),
    ("/adapters/minio/", "", "store"),
    ("/aiohttp/", "", "store"),
    ("/yarl/", "", "store"),
    ("/multidict/", "", "store"),
    ("/adapters/system/", "", "scratch"),
    ("/benchmarks/engine", "", "engine"),
    ("/application/process_media", "_claim", "claim"),
    ("/application/process_media", "_finish", "commit"),
    ("/domain/", "", "domain"),
    ("/application/", "", "application"),
    ("/entrypoints/worker", "", "worker loop"),
)


@contextmanager
def sampled(file: Path) -> Generator[None]:
    """Sample the body; write samples by part, and by innermost function, to `file` as JSON."""
    parts: Counter[str] = Counter()
    functions: Counter[str] = Counter()

    def look(_number: int, frame: FrameType | None) -> None:
        parts[_part(frame)] += 1
        if frame is not None:
            code = frame.f_code
            functions[f"{code.co_filename.split('site-packages/')[-1]}:{code.co_qualname}"] += 1

    signal.signal(signal.SIGPROF, look)
    signal.setitimer(signal.ITIMER_PROF, PERIOD_SECONDS, PERIOD_SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        file.write_text(json.dumps({"parts": parts, "functions": functions.most_common(60)}))


def _part(frame: FrameType | None) -> str:
    while frame is not None:
        path, function = frame.f_code.co_filename, frame.f_code.co_name
        for folder, name, part in _PARTS:
            if folder in path and name in {"", function}:
                return part
        frame = frame.f_back
    return "event loop"
