"""Watches the object store from outside: spans, seconds and bytes of what moves."""

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from opentelemetry.trace import Span, SpanKind

from adapters.events import get_logger
from adapters.opentelemetry.instruments import STAGE_SECONDS, STORE_BYTES
from adapters.opentelemetry.metrics import Metrics
from adapters.opentelemetry.stopwatch import Stopwatch
from adapters.opentelemetry.tracing import Tracing
from application.ports import ObjectStore
from application.values import Downloaded, StoredObject

_log = get_logger("pipeline.store")


class ObservedStore(ObjectStore):
    """Spans `head`, `download`, and one `upload` for each variant; each names its object's key."""

    def __init__(self, inner: ObjectStore, metrics: Metrics, tracing: Tracing) -> None:
        self._inner = inner
        self._metrics = metrics
        self._tracing = tracing

    async def head(self, key: str) -> StoredObject | None:
        with self._span("head", key):
            return await self._inner.head(key)

    async def download(self, key: str, *, etag: str, to: Path, max_bytes: int) -> Downloaded:
        with self._span("download", key) as span, self._timed("download"):
            downloaded = await self._inner.download(key, etag=etag, to=to, max_bytes=max_bytes)
            span.set_attribute("object.size", downloaded.size)
        self._metrics.add(STORE_BYTES, downloaded.size, direction="in")
        return downloaded

    async def upload(self, key: str, source: Path, *, content_type: str) -> None:
        size = source.stat().st_size  # noqa: ASYNC240 - a few microseconds on the local disk
        with self._span("upload", key) as span, self._timed("upload"):
            span.set_attributes({"object.size": size, "variant.name": PurePosixPath(key).stem})
            await self._inner.upload(key, source, content_type=content_type)
        self._metrics.add(STORE_BYTES, size, direction="out")

    async def list_keys(self, prefix: str) -> Sequence[str]:
        with self._span("list", prefix):
            return await self._inner.list_keys(prefix)

    async def delete(self, keys: Sequence[str]) -> None:
        with self._span("delete", keys[0] if keys else ""):
            await self._inner.delete(keys)
        if keys:
            _log.debug("objects_deleted", count=len(keys), first=keys[0])

    @contextmanager
    def _span(self, operation: str, key: str) -> Generator[Span]:
        attributes = {"object.key": key}
        with self._tracing.span(operation, attributes, kind=SpanKind.CLIENT) as span:
            yield span

    @contextmanager
    def _timed(self, stage: str) -> Generator[None]:
        """Successes only: how soon a dead server is noticed is no measure of the stage."""
        watch = Stopwatch()
        yield
        self._metrics.observe(STAGE_SECONDS, watch.seconds, stage=stage)
