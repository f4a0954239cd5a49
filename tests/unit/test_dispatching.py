"""The relay and the sweepers: what they send, what they mend, and what they leave alone."""

from collections.abc import AsyncGenerator, Mapping
from pathlib import Path

import pytest

from adapters.memory.broker import Message
from application.messages import encode
from application.ports import Queue
from domain.errors import BrokerUnavailable, LetterNotFound, MediaNotFound, UnroutableMessage
from domain.failure import FailureCode
from domain.lifecycle import State
from domain.media import Media
from tests.support.builders import LEASE_SECONDS, claim, request, ulid
from tests.support.pipeline import Pipeline, pipeline_at

pytestmark = pytest.mark.anyio


@pytest.fixture
async def pipeline(tmp_path: Path) -> AsyncGenerator[Pipeline]:
    async with pipeline_at(tmp_path) as made:
        yield made


# --- relay -----------------------------------------------------------------------------------


async def test_a_due_row_is_sent_once_and_marked(pipeline: Pipeline) -> None:
    media = await pipeline.accepted()

    assert await pipeline.relay_outbox() == 1
    assert await pipeline.relay_outbox() == 0

    assert [sent.media_id for sent in pipeline.sent()] == [media.id]


async def test_a_row_whose_publish_failed_is_given_back_and_the_others_are_marked(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(3):
        await pipeline.accepted()
    publish = pipeline.broker.publish

    async def fail_second(message_id: str, body: bytes, headers: Mapping[str, str]) -> None:
        if message_id == "2":
            raise BrokerUnavailable("no confirm")
        await publish(message_id, body, headers)

    monkeypatch.setattr(pipeline.broker, "publish", fail_second)
    with pytest.raises(BrokerUnavailable):
        await pipeline.relay_outbox()
    monkeypatch.undo()

    assert len(pipeline.sent()) == 2
    assert await pipeline.relay_outbox() == 1


async def test_an_unroutable_message_stays_in_the_outbox(pipeline: Pipeline) -> None:
    await pipeline.accepted()
    pipeline.broker.remove_queues()
    with pytest.raises(UnroutableMessage):
        await pipeline.relay_outbox()

    pipeline.broker.routable = True

    assert await pipeline.relay_outbox() == 1


async def test_a_relay_that_died_after_claiming_gives_its_rows_back_by_silence(
    pipeline: Pipeline,
) -> None:
    await pipeline.accepted()
    await pipeline.database.relay.claim(limit=10, hold_seconds=30)

    assert await pipeline.relay_outbox() == 0
    pipeline.clock.advance(30)
    assert await pipeline.relay_outbox() == 1


# --- leases ----------------------------------------------------------------------------------


async def _claimed(pipeline: Pipeline) -> Media:
    """A photo whose worker is silent from now on."""
    media = await pipeline.accepted()
    await pipeline.relay_outbox()
    async with pipeline.database.begin() as uow:
        current = await uow.media.get(media.id, lock=True)
        assert current is not None
        await uow.media.save(claim(current, now=uow.now).media)
        await uow.commit()
    return await pipeline.media(media.id)


async def test_an_expired_lease_becomes_a_retry_with_a_message(pipeline: Pipeline) -> None:
    media = await _claimed(pipeline)

    assert await pipeline.watch_leases(LEASE_SECONDS) == 1

    lost = await pipeline.media(media.id)
    assert (lost.state, lost.lost_leases, lost.attempt) == (State.RETRYING, 1, 1)
    pipeline.clock.advance(pipeline.policy.base_seconds)
    assert await pipeline.relay_outbox() == 1


async def test_a_living_lease_is_left_alone(pipeline: Pipeline) -> None:
    await _claimed(pipeline)

    assert await pipeline.watch_leases(LEASE_SECONDS - 1) == 0


async def test_a_lease_lost_three_times_ends_the_photo(pipeline: Pipeline) -> None:
    media = await _claimed(pipeline)
    for _ in range(3):
        assert await pipeline.watch_leases(60) == 1
        pipeline.clock.advance(60)
        async with pipeline.database.begin() as uow:
            current = await uow.media.get(media.id, lock=True)
            assert current is not None
            await uow.media.save(claim(current, now=uow.now).media)
            await uow.commit()

    done = await pipeline.media(media.id)
    assert done.failure is not None
    assert done.failure.code is FailureCode.WORKER_CRASHED


async def test_after_an_outage_living_workers_may_speak_first(pipeline: Pipeline) -> None:
    await _claimed(pipeline)
    await pipeline.watch_leases(LEASE_SECONDS / 2)
    pipeline.clock.advance(LEASE_SECONDS)  # in which nobody could reach the database

    assert await pipeline.watch_leases(LEASE_SECONDS / 2 - 1) == 0
    assert await pipeline.watch_leases(1) == 1


# --- silence ---------------------------------------------------------------------------------


async def test_a_photo_whose_message_was_lost_is_sent_again_at_growing_intervals(
    pipeline: Pipeline,
) -> None:
    await pipeline.accepted()
    await pipeline.relay_outbox()
    pipeline.broker.queues[Queue.PROCESS].clear()

    waits: list[float] = []
    waited = 0.0
    while len(waits) < 3:
        pipeline.clock.advance(10)
        waited += 10
        if await pipeline.requeue_silent():
            waits.append(waited)
            waited = 0
            await pipeline.relay_outbox()

    assert waits == [60, 240, 960]


async def test_nothing_is_sent_again_while_the_outbox_is_behind(pipeline: Pipeline) -> None:
    await pipeline.accepted()
    pipeline.clock.advance(3600)

    assert await pipeline.requeue_silent() == 0


async def test_a_deep_backlog_is_not_doubled(pipeline: Pipeline) -> None:
    for _ in range(250):
        await pipeline.accepted()
    while await pipeline.relay_outbox():
        pass
    pipeline.clock.advance(60)

    again = [await pipeline.requeue_silent() for _ in range(5)]

    assert again == [100, 0, 0, 0, 0]


async def test_a_queue_that_is_lost_again_strands_no_photo(pipeline: Pipeline) -> None:
    for _ in range(100):
        await pipeline.accepted()
    for silence in (60, 240):
        await pipeline.relay_outbox()
        pipeline.broker.queues[Queue.PROCESS].clear()
        pipeline.clock.advance(silence)

        assert await pipeline.requeue_silent() == 100


# --- garbage ---------------------------------------------------------------------------------


async def test_objects_of_a_losing_attempt_go_and_the_winners_stay(pipeline: Pipeline) -> None:
    media = await _claimed(pipeline)
    pipeline.store.store(f"media/{media.id}/1/large.webp", b"half done", "image/webp")
    pipeline.clock.advance(LEASE_SECONDS)
    await pipeline.process(media, pipeline.worker("worker-2"))
    pipeline.clock.advance(pipeline.policy.sweep_seconds)

    assert await pipeline.sweep_objects() == 1

    done = await pipeline.media(media.id)
    kept = {media.original_key, *(variant.key for variant in done.variants)}
    assert set(pipeline.keys()) == kept
    assert await pipeline.sweep_objects() == 0


# --- dead letters and replay -----------------------------------------------------------------


async def _dead(
    pipeline: Pipeline, body: bytes, reason: str = "delivery_limit", message_id: str = "7"
) -> None:
    pipeline.broker.put(Queue.DEAD, Message(message_id, body, {}, reason=reason))
    consumer = await pipeline.broker.consume(Queue.DEAD, prefetch=1)
    delivery = await consumer.receive()
    await pipeline.record_dead_letters(delivery)
    await delivery.ack()
    await consumer.close()


async def test_a_dead_letter_fails_the_photo_that_waits_for_it_and_is_kept(
    pipeline: Pipeline,
) -> None:
    media = await pipeline.accepted()
    await _dead(pipeline, encode(request(1))[0])

    done = await pipeline.media(media.id)
    assert done.failure is not None
    assert done.failure.code is FailureCode.MESSAGE_UNDELIVERABLE
    (letter,) = pipeline.database.tables.dead_letters.values()
    assert (letter.media_id, letter.reason) == (media.id, "delivery_limit")


async def test_a_dead_letter_of_the_past_leaves_the_photo_alone(pipeline: Pipeline) -> None:
    media = await _claimed(pipeline)
    await _dead(pipeline, encode(request(1))[0])

    assert (await pipeline.media(media.id)).state is State.PROCESSING


async def test_an_unreadable_dead_letter_is_kept_once(pipeline: Pipeline) -> None:
    await _dead(pipeline, b"\xff not ours")
    await _dead(pipeline, b"\xff not ours")

    (letter,) = pipeline.database.tables.dead_letters.values()
    assert letter.media_id is None
    with pytest.raises(MediaNotFound, match="unreadable"):
        await pipeline.reprocess_media.dead_letter(letter.id)


async def test_texts_of_a_strange_sender_are_kept_as_any_database_takes_them(
    pipeline: Pipeline,
) -> None:
    media = await pipeline.accepted()
    await _dead(pipeline, encode(request(1))[0], "no\x00" + "!" * 5000, "\x00\x1b[2J")

    (letter,) = pipeline.database.tables.dead_letters.values()
    assert letter.media_id == media.id
    assert letter.id.startswith("??[2J-")
    assert letter.reason == "no?" + "!" * 197


async def test_replaying_a_dead_letter_works_once(pipeline: Pipeline) -> None:
    media = await pipeline.accepted()
    await _dead(pipeline, encode(request(1))[0])
    (letter,) = pipeline.database.tables.dead_letters.values()

    assert (await pipeline.reprocess_media.dead_letter(letter.id, dry_run=True)).moved
    assert (await pipeline.media(media.id)).state is State.FAILED
    assert (await pipeline.reprocess_media.dead_letter(letter.id)).moved
    assert not (await pipeline.reprocess_media.dead_letter(letter.id)).moved

    assert (await pipeline.media(media.id)).state is State.UPLOADED
    assert pipeline.database.tables.dead_letters[letter.id].replayed_at is not None


async def test_replaying_what_is_not_there_is_refused(pipeline: Pipeline) -> None:
    with pytest.raises(LetterNotFound):
        await pipeline.reprocess_media.dead_letter("unknown")
    with pytest.raises(MediaNotFound):
        await pipeline.reprocess_media(ulid(42))
