"""What happened in the decoder's process is told by its timings."""

import asyncio
from collections.abc import Callable, Generator
from pathlib import Path

import pytest
from opentelemetry.trace import SpanKind

from adapters.opentelemetry import ObservedEngine
from adapters.opentelemetry.instruments import CHILDREN_KILLED, STAGE_SECONDS
from application.ports import ImageEngine
from application.values import RenderedFile, Rendering, RenderJob
from domain.recipe import default_recipe
from tests.support.telemetry import Watched, identity, watching

pytestmark = pytest.mark.anyio

STAGES = {"start": 0.007, "decode": 0.1, "resize.large": 0.02, "encode.large": 0.05}
JOB = RenderJob(
    source=Path("original"), folder=Path(), content_type="image/jpeg", recipe=default_recipe()
)


class TimedEngine(ImageEngine):
    """Answers with STAGES, or hangs."""

    def __init__(self, *, hangs: bool = False) -> None:
        self.started = asyncio.Event()
        self._hangs = hangs

    async def render(self, job: RenderJob, on_variant: Callable[[RenderedFile], None]) -> Rendering:
        del job, on_variant
        self.started.set()
        if self._hangs:
            await asyncio.Event().wait()
        return Rendering(width=40, height=30, format="JPEG", placeholder=None, stages=STAGES)


@pytest.fixture
def watched() -> Generator[Watched]:
    with watching() as watched:
        yield watched


def ignore(_: RenderedFile) -> None:
    """A variant that nobody uploads."""


async def test_each_stage_is_a_span_below_the_render_end_to_end(watched: Watched) -> None:
    engine = ObservedEngine(TimedEngine(), watched.metrics, watched.tracing)
    with watched.tracing.entry("process", {}, kind=SpanKind.CONSUMER, parent=None):
        await engine.render(JOB, ignore)

    spans = watched.spans()
    render = spans["render"]
    assert (render.attributes or {})["image.width"] == 40
    end = render.start_time
    for name, stage in zip(
        ("start", "decode", "resize large", "encode large"), STAGES.values(), strict=True
    ):
        span = spans[name]
        assert span.parent is not None
        assert span.parent.span_id == identity(render)[1]
        assert span.start_time == end
        assert span.end_time is not None
        assert span.start_time is not None
        assert span.end_time - span.start_time == round(stage * 1e9)
        end = span.end_time
    assert (spans["encode large"].attributes or {})["variant.name"] == "large"
    for stage in ("start", "decode", "resize", "encode", "render"):
        assert watched.value(STAGE_SECONDS, stage=stage) == 1, stage


async def test_a_cancelled_render_counts_as_a_child_killed(watched: Watched) -> None:
    inner = TimedEngine(hangs=True)
    engine = ObservedEngine(inner, watched.metrics, watched.tracing)
    task = asyncio.create_task(engine.render(JOB, ignore))
    await inner.started.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert watched.value(CHILDREN_KILLED, reason="cancelled") == 1
    assert watched.value(STAGE_SECONDS, stage="render") == 0
