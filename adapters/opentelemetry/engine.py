"""Watches the image engine from outside; what happened in the child is told by its timings."""

import asyncio
import contextvars
from collections.abc import Callable, Mapping

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import Span

from adapters.events import get_logger
from adapters.opentelemetry.instruments import CHILDREN_KILLED, STAGE_SECONDS
from adapters.opentelemetry.metrics import Metrics
from adapters.opentelemetry.stopwatch import Stopwatch
from adapters.opentelemetry.tracing import Tracing
from application.ports import ImageEngine
from application.values import RenderedFile, Rendering, RenderJob
from domain.errors import ProcessingFailed
from domain.failure import SUSPECT

_log = get_logger("pipeline.engine")


class ObservedEngine(ImageEngine):
    """A span `render` with one child for each stage; counts the children that did not survive."""

    def __init__(self, inner: ImageEngine, metrics: Metrics, tracing: Tracing) -> None:
        self._inner = inner
        self._metrics = metrics
        self._tracing = tracing

    async def render(self, job: RenderJob, on_variant: Callable[[RenderedFile], None]) -> Rendering:
        watch = Stopwatch()
        # What the caller does with a variant, uploading it, is no part of the rendering.
        outside = contextvars.copy_context()
        attributes = {"recipe.name": job.recipe.name, "image.content_type": job.content_type}
        with self._tracing.span("render", attributes) as span:
            rendering = await self._render(job, lambda file: outside.run(on_variant, file))
            self._tell_span(span, rendering)
        self._metrics.observe(STAGE_SECONDS, watch.seconds, stage="render")
        for name, stage_seconds in rendering.stages.items():
            stage, _ = _split(name)
            self._metrics.observe(STAGE_SECONDS, stage_seconds, stage=stage)
        return rendering

    async def _render(
        self, job: RenderJob, on_variant: Callable[[RenderedFile], None]
    ) -> Rendering:
        try:
            return await self._inner.render(job, on_variant)
        except ProcessingFailed as failed:
            if failed.code in SUSPECT:
                self._metrics.add(CHILDREN_KILLED, reason=failed.code.value)
                _log.warning("decoder_died", code=failed.code, detail=failed.detail)
            raise
        except asyncio.CancelledError:
            self._metrics.add(CHILDREN_KILLED, reason="cancelled")
            raise

    def _tell_span(self, span: Span, rendering: Rendering) -> None:
        """The child tells durations only; laid end to end they fill the time of the render."""
        if not isinstance(span, ReadableSpan) or span.start_time is None:
            return
        span.set_attributes(
            {
                "image.width": rendering.width,
                "image.height": rendering.height,
                "image.format": rendering.format,
            }
        )
        self._lay_out(span.start_time, rendering.stages)

    def _lay_out(self, start_ns: int, stages: Mapping[str, float]) -> None:
        for name, seconds in stages.items():
            stage, variant = _split(name)
            attributes = {"variant.name": variant} if variant else {}
            end_ns = start_ns + round(seconds * 1e9)
            self._tracing.timed(f"{stage} {variant}".rstrip(), start_ns, end_ns, attributes)
            start_ns = end_ns


def _split(name: str) -> tuple[str, str]:
    """Stage and variant of a timing's name: `encode.large`, or `decode` alone."""
    stage, _, variant = name.partition(".")
    return stage, variant
