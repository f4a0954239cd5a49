"""One log line for each change of state, told once it is durable."""

import logging
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import pytest

from adapters.memory.engine import MemoryEngine
from adapters.opentelemetry.instruments import REQUEUED, UPLOADS_EXPIRED
from application.expire_uploads import ExpireUploads
from application.requeue_silent import RequeueSilent
from application.values import RenderedFile, Rendering, RenderJob
from tests.support import builders
from tests.support.builders import TRACEPARENT
from tests.support.pipeline import Pipeline
from tests.support.telemetry import Watched, WatchedPipeline, watching

pytestmark = pytest.mark.anyio


@pytest.fixture
def watched() -> Generator[Watched]:
    with watching() as watched:
        yield watched


@pytest.fixture
def pipeline(tmp_path: Path, watched: Watched, caplog: pytest.LogCaptureFixture) -> WatchedPipeline:
    caplog.set_level(logging.INFO)
    return WatchedPipeline(Pipeline(root=tmp_path), watched)


def changes(caplog: pytest.LogCaptureFixture) -> list[dict[str, Any]]:
    """The fields of each line about a change, oldest first."""
    return [
        vars(record)["event_fields"]
        for record in caplog.records
        if record.getMessage() == "media_state_changed"
    ]


async def test_every_change_is_one_line_with_who_and_why(
    pipeline: WatchedPipeline, caplog: pytest.LogCaptureFixture
) -> None:
    media = await pipeline.complete(await pipeline.uploaded(b"fail:image-truncated"), TRACEPARENT)
    await pipeline.deliver()

    lines = changes(caplog)
    assert [(line["from"], line["to"]) for line in lines] == [
        (None, "PENDING_UPLOAD"),
        ("PENDING_UPLOAD", "UPLOADED"),
        ("UPLOADED", "PROCESSING"),
        ("PROCESSING", "FAILED"),
    ]
    assert {line["media_id"] for line in lines} == {media.id}
    assert [line["attempt"] for line in lines] == [None, None, 1, 1]
    assert lines[2]["worker_id"] == lines[3]["worker_id"] == "worker-1"
    assert (lines[3]["outcome"], lines[3]["code"]) == ("failed", "image-truncated")
    assert {line["trace_id"] for line in lines[1:]} == {TRACEPARENT.split("-")[1]}


async def test_the_media_id_is_logged_before_a_byte_is_decoded(
    pipeline: WatchedPipeline, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []
    render = MemoryEngine.render

    async def note(
        self: MemoryEngine, job: RenderJob, on_variant: Callable[[RenderedFile], None]
    ) -> Rendering:
        seen.extend(line["to"] for line in changes(caplog))
        return await render(self, job, on_variant)

    monkeypatch.setattr(MemoryEngine, "render", note)
    await pipeline.complete(await pipeline.uploaded())
    await pipeline.deliver()
    assert seen[-1] == "PROCESSING"


async def test_a_takeover_is_a_line_and_a_renewed_lease_is_none(
    pipeline: WatchedPipeline, caplog: pytest.LogCaptureFixture
) -> None:
    media = await pipeline.complete(await pipeline.uploaded())
    async with pipeline.database.begin() as uow:
        current = await uow.media.get(media.id, lock=True)
        assert current is not None
        current = builders.claim(current, now=uow.now, worker_id="worker-1").media
        await uow.media.save(current)
        await uow.commit()
    async with pipeline.database.begin() as uow:
        current = await uow.media.get(media.id, lock=True)
        assert current is not None
        await uow.media.save(current.renew_lease(now=uow.now, token=1, lease_seconds=15))
        await uow.commit()
    assert len(changes(caplog)) == 3
    pipeline.pipeline.clock.advance(3600)

    assert await pipeline.deliver("worker-2") == "ready"

    takeover = changes(caplog)[3]
    assert (takeover["from"], takeover["to"]) == ("PROCESSING", "PROCESSING")
    assert (takeover["attempt"], takeover["worker_id"]) == (2, "worker-2")
    assert takeover["outcome"] == "lease-lost"


async def test_a_message_sent_anew_is_counted_and_is_no_change(
    pipeline: WatchedPipeline, watched: Watched, caplog: pytest.LogCaptureFixture
) -> None:
    await pipeline.complete(await pipeline.uploaded())
    before = len(changes(caplog))
    await pipeline.relay_outbox()
    pipeline.pipeline.clock.advance(3600)
    requeue = RequeueSilent(
        database=pipeline.database,
        overview=pipeline.pipeline.database.overview,
        policy=pipeline.pipeline.policy,
    )
    assert await requeue() == 1
    assert watched.value(REQUEUED) == 1
    assert len(changes(caplog)) == before


async def test_an_upload_given_up_is_counted(pipeline: WatchedPipeline, watched: Watched) -> None:
    await pipeline.uploaded()
    pipeline.pipeline.clock.advance(7 * 86400)
    await ExpireUploads(database=pipeline.database)()
    assert watched.value(UPLOADS_EXPIRED) == 1
