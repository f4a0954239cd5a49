"""One photo on its way through the worker, with everything that can come in between."""

import asyncio
import base64
import hashlib
from collections.abc import AsyncGenerator, Awaitable, Callable
from pathlib import Path

import pytest

from adapters.memory.database import MemoryUnitOfWork
from application.messages import ProcessRequest
from application.process_media import Processed
from domain.errors import DatabaseUnavailable, StoreUnavailable
from domain.failure import UNREADABLE_POSTPONED, FailureCode
from domain.lifecycle import State
from domain.parts import Outcome
from domain.recipe import default_recipe
from tests.support.builders import LEASE_SECONDS, claim, ulid
from tests.support.pipeline import PHOTO, Pipeline, pipeline_at, sha256
from tests.support.waiting import eventually

pytestmark = pytest.mark.anyio


@pytest.fixture
async def pipeline(tmp_path: Path) -> AsyncGenerator[Pipeline]:
    async with pipeline_at(tmp_path) as made:
        yield made


async def test_a_photo_becomes_ready_with_all_its_variants_under_its_token(
    pipeline: Pipeline,
) -> None:
    media = await pipeline.accepted()

    assert await pipeline.process(media) is Processed.READY

    done = await pipeline.media(media.id)
    assert done.state is State.READY
    assert done.deadline_at is None
    assert [variant.name for variant in done.variants] == ["large", "medium", "small", "thumb"]
    assert {variant.key for variant in done.variants} <= set(pipeline.store.objects)
    assert all(variant.key.startswith(f"media/{media.id}/1/") for variant in done.variants)
    assert {variant.recipe for variant in done.variants} == {default_recipe().hash}
    assert done.original is not None
    assert done.original.sha256 == sha256(PHOTO)
    assert [attempt.outcome for attempt in done.attempts] == [Outcome.SUCCEEDED]


async def test_a_finished_photo_is_a_duplicate(pipeline: Pipeline) -> None:
    media = await pipeline.accepted()
    await pipeline.process(media)
    before = await pipeline.media(media.id)

    assert await pipeline.process(media) is Processed.DUPLICATE

    assert await pipeline.media(media.id) == before


async def test_a_message_that_comes_before_the_upload_is_complete_changes_nothing(
    pipeline: Pipeline,
) -> None:
    ticket = await pipeline.ticket()

    assert await pipeline.process(ticket.media) is Processed.EARLY

    assert await pipeline.media(ticket.media.id) == ticket.media
    media = (await pipeline.complete(ticket)).media
    assert await pipeline.process(media) is Processed.READY


async def test_a_message_for_an_unknown_media_is_answered_as_such(pipeline: Pipeline) -> None:
    request = ProcessRequest(ulid(999), 0)

    assert await pipeline.worker()(request, pipeline.stopping) is Processed.UNKNOWN


async def test_of_twenty_workers_exactly_one_processes_the_photo(pipeline: Pipeline) -> None:
    media = await pipeline.accepted()
    workers = [pipeline.worker(f"worker-{number}") for number in range(20)]

    outcomes = await asyncio.gather(*(pipeline.process(media, worker) for worker in workers))

    assert sorted(outcomes) == [Processed.DUPLICATE] * 19 + [Processed.READY]
    assert (await pipeline.media(media.id)).lease_token == 1


async def test_a_permanent_failure_ends_the_photo_at_its_first_attempt(pipeline: Pipeline) -> None:
    media = await pipeline.accepted(b"fail:image-truncated")

    assert await pipeline.process(media) is Processed.FAILED

    done = await pipeline.media(media.id)
    assert done.failure is not None
    assert (done.failure.code, done.failure.attempt) == (FailureCode.IMAGE_TRUNCATED, 1)


async def test_a_suspect_failure_is_tried_twice_and_keeps_its_own_code(pipeline: Pipeline) -> None:
    media = await pipeline.accepted(b"fail:decoder-crashed")

    assert await pipeline.process(media) is Processed.RETRYING
    pipeline.clock.advance(60)
    assert await pipeline.process(media) is Processed.FAILED

    done = await pipeline.media(media.id)
    assert done.failure is not None
    assert done.failure.code is FailureCode.DECODER_CRASHED


async def test_a_lost_lease_is_no_death_of_the_decoder(pipeline: Pipeline) -> None:
    media = await pipeline.accepted(b"fail:decoder-crashed")
    async with pipeline.database.begin() as uow:
        accepted = await uow.media.get(media.id, lock=True)
        assert accepted is not None
        await uow.media.save(claim(accepted, now=uow.now).media)
        await uow.commit()
    pipeline.clock.advance(LEASE_SECONDS)

    assert await pipeline.process(media, pipeline.worker("worker-2")) is Processed.RETRYING


async def test_an_unforeseen_error_is_retried_until_the_attempts_are_exhausted(
    pipeline: Pipeline,
) -> None:
    media = await pipeline.accepted(b"crash")

    outcomes: list[Processed] = []
    for _ in range(pipeline.policy.attempts_max):
        outcomes.append(await pipeline.process(media))
        pipeline.clock.advance(pipeline.policy.cap_seconds)

    assert outcomes == [Processed.RETRYING] * 4 + [Processed.FAILED]
    done = await pipeline.media(media.id)
    assert done.failure is not None
    assert done.failure.code is FailureCode.ATTEMPTS_EXHAUSTED
    assert [attempt.error_code for attempt in done.attempts] == [FailureCode.INTERNAL_ERROR] * 5
    assert len(pipeline.defects) == 5


async def test_a_photo_whose_original_cannot_be_read_comes_to_an_end(pipeline: Pipeline) -> None:
    media = await pipeline.accepted(b"fail:original-unreadable")

    tries = 0
    while not (await pipeline.media(media.id)).is_terminal:
        await pipeline.process(media)
        pipeline.clock.advance(pipeline.policy.cap_seconds)
        tries += 1

    done = await pipeline.media(media.id)
    assert done.failure is not None
    assert done.failure.code is FailureCode.ATTEMPTS_EXHAUSTED
    assert tries == pipeline.policy.attempts_max * (UNREADABLE_POSTPONED + 1)


async def test_a_retry_is_enqueued_with_its_delay_and_refused_before_it_is_due(
    pipeline: Pipeline,
) -> None:
    media = await pipeline.accepted(b"crash")
    await pipeline.relay_outbox()
    await pipeline.process(media)

    assert await pipeline.process(media) is Processed.DUPLICATE
    assert await pipeline.relay_outbox() == 0
    pipeline.clock.advance(2)
    assert await pipeline.relay_outbox() == 1
    assert pipeline.sent()[-1].token == 1


async def test_an_outage_of_the_store_does_not_charge_the_attempt(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    media = await pipeline.accepted()

    async def unavailable(*_: object, **__: object) -> None:
        raise StoreUnavailable("no answer")

    with monkeypatch.context() as patch:
        patch.setattr(pipeline.store, "upload", unavailable)
        for _ in range(12):
            assert await pipeline.process(media) is Processed.RETRYING
            pipeline.clock.advance(60)

    postponed = await pipeline.media(media.id)
    assert postponed.attempt == 0
    assert {attempt.outcome for attempt in postponed.attempts} == {Outcome.POSTPONED}
    assert await pipeline.process(media) is Processed.READY


async def test_a_declared_checksum_that_does_not_hold_fails_the_photo(pipeline: Pipeline) -> None:
    declared = base64.b64encode(hashlib.sha256(PHOTO).digest()).decode()
    ticket = await pipeline.request_upload(
        content_type="image/jpeg", file_name="a.jpg", checksum_sha256=declared
    )
    pipeline.store.store(ticket.media.original_key, b"other bytes", "image/jpeg")
    media = (await pipeline.complete(ticket)).media

    assert await pipeline.process(media) is Processed.FAILED

    done = await pipeline.media(media.id)
    assert done.failure is not None
    assert done.failure.code is FailureCode.CHECKSUM_MISMATCH


async def test_an_original_replaced_after_completion_fails_the_photo(pipeline: Pipeline) -> None:
    media = await pipeline.accepted()
    pipeline.store.store(media.original_key, b"another photo", "image/jpeg")

    assert await pipeline.process(media) is Processed.FAILED

    done = await pipeline.media(media.id)
    assert done.failure is not None
    assert done.failure.code is FailureCode.ORIGINAL_CHANGED


async def test_a_stopping_worker_releases_its_photo_uncharged(pipeline: Pipeline) -> None:
    pipeline.engine.seconds = 3600
    media = await pipeline.accepted()
    working = asyncio.create_task(pipeline.process(media))
    await eventually(_async(lambda: pipeline.engine.running))

    pipeline.stopping.set()

    assert await working is Processed.RELEASED
    released = await pipeline.media(media.id)
    assert (released.state, released.attempt) == (State.UPLOADED, 0)
    assert released.attempts[-1].outcome is Outcome.RELEASED
    assert pipeline.engine.running == 0
    await pipeline.relay_outbox()
    assert [request.token for request in pipeline.sent()] == [0, 1]


async def test_a_worker_whose_photo_was_taken_over_removes_what_it_wrote(
    pipeline: Pipeline,
) -> None:
    media = await pipeline.accepted()
    slow, quick = pipeline.worker("worker-slow"), pipeline.worker("worker-quick")
    pipeline.engine.seconds = 0.05
    first = asyncio.create_task(pipeline.process(media, slow))
    await eventually(_async(lambda: len(pipeline.store.objects) >= 2))
    pipeline.clock.advance(LEASE_SECONDS)

    pipeline.engine.seconds = 0
    assert await pipeline.process(media, quick) is Processed.READY
    assert await first is Processed.STALE

    done = await pipeline.media(media.id)
    assert (done.lease_token, done.lost_leases) == (2, 1)
    kept = {media.original_key} | {variant.key for variant in done.variants}
    assert set(pipeline.keys()) == kept


async def test_a_claim_whose_answer_was_lost_is_adopted_not_charged_twice(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    media = await pipeline.accepted()
    worker = pipeline.worker()
    _lose_the_answer_of_the_next_commit(monkeypatch)
    with pytest.raises(DatabaseUnavailable):
        await pipeline.process(media, worker)

    assert await pipeline.process(media, worker) is Processed.READY

    done = await pipeline.media(media.id)
    assert (done.attempt, done.lease_token) == (1, 1)


async def test_a_finish_whose_answer_was_lost_is_found_done(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipeline.engine.seconds = 0.02
    media = await pipeline.accepted()
    working = asyncio.create_task(pipeline.process(media))
    await eventually(_async(lambda: pipeline.engine.running))
    _lose_the_answer_of_the_next_commit(monkeypatch)

    assert await working is Processed.READY

    done = await pipeline.media(media.id)
    assert done.state is State.READY
    assert {variant.key for variant in done.variants} <= set(pipeline.keys())


async def test_the_same_media_twice_in_one_worker_is_worked_on_once(pipeline: Pipeline) -> None:
    media = await pipeline.accepted()
    worker = pipeline.worker()

    outcomes = await asyncio.gather(*(pipeline.process(media, worker) for _ in range(5)))

    assert sorted(outcomes) == [Processed.DUPLICATE] * 4 + [Processed.READY]


async def test_the_third_lost_lease_gives_the_photo_up(pipeline: Pipeline) -> None:
    pipeline.engine.seconds = 3600
    media = await pipeline.accepted()
    workers = [asyncio.create_task(pipeline.process(media, pipeline.worker("w0")))]
    for number in range(1, 3):
        await eventually(_async(lambda: pipeline.engine.running))
        pipeline.clock.advance(LEASE_SECONDS)
        worker = pipeline.worker(f"w{number}")
        workers.append(asyncio.create_task(pipeline.process(media, worker)))
        await eventually(_token_is(pipeline, media.id, number + 1))
    pipeline.clock.advance(LEASE_SECONDS)

    assert await pipeline.process(media, pipeline.worker("w3")) is Processed.FAILED

    done = await pipeline.media(media.id)
    assert done.failure is not None
    assert done.failure.code is FailureCode.WORKER_CRASHED
    for task in workers:
        task.cancel()
    await asyncio.gather(*workers, return_exceptions=True)


def _async(ask: Callable[[], object]) -> Callable[[], Awaitable[object]]:
    async def answer() -> object:
        return ask()

    return answer


def _token_is(pipeline: Pipeline, media_id: str, token: int) -> Callable[[], Awaitable[bool]]:
    async def answer() -> bool:
        return (await pipeline.media(media_id)).lease_token == token

    return answer


def _lose_the_answer_of_the_next_commit(monkeypatch: pytest.MonkeyPatch) -> None:
    commit = MemoryUnitOfWork.commit
    remaining = [1]

    async def commit_and_lose(self: MemoryUnitOfWork) -> None:
        await commit(self)
        if remaining:
            remaining.clear()
            raise DatabaseUnavailable("the answer was lost")

    monkeypatch.setattr(MemoryUnitOfWork, "commit", commit_and_lose)
