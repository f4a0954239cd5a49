"""Two workers and one photo: whoever holds the lease wins, and the other one cleans up."""

import asyncio
from collections.abc import AsyncGenerator
from functools import partial

import pytest

from adapters.opentelemetry.instruments import PROCESSED, STALE_RESULTS
from application.messages import ProcessRequest
from domain.lifecycle import State
from domain.media import Media
from tests.e2e.asking import keys_of, measured, nothing_waits, only_the_winner_is_left, stored
from tests.e2e.photos import draw
from tests.e2e.sending import accepted, finished
from tests.support.ordeal import essence
from tests.support.product import ProductProcess
from tests.support.services import Services
from tests.support.systems import LEASE_SECONDS, SYSTEM_NAMES, System, running
from tests.support.waiting import eventually

pytestmark = pytest.mark.anyio

# To relay, claim, decode and store one photo on a machine that has other things to do.
PROCESSING_SECONDS = 2.0
START_SECONDS = 7.0  # and a sweeper that has just been started holds still for 3


@pytest.fixture(scope="module", params=SYSTEM_NAMES)
async def system(
    request: pytest.FixtureRequest, services: Services, tmp_path_factory: pytest.TempPathFactory
) -> AsyncGenerator[System]:
    """Two workers, where a set has workers of their own; who dies is started again."""
    folder = tmp_path_factory.mktemp(f"leases-{request.param}")
    async with running(request.param, services, folder, workers=2) as opened, opened.supervised():
        yield opened


only_production = pytest.mark.parametrize("system", ["production"], indirect=True)
only_embedded = pytest.mark.parametrize("system", ["embedded"], indirect=True)


async def in_hand(system: System, media_id: str) -> Media:
    """The photo once a worker has claimed it."""
    return await eventually(
        lambda: stored(system, media_id), until=lambda media: media.state is State.PROCESSING
    )


def who_is(system: System, worker_id: str | None) -> ProductProcess:
    """The process that calls itself so."""

    def calls_itself_so(worker: ProductProcess) -> bool:
        return worker_id in [event["worker_id"] for event in worker.events("process_started")]

    return next(filter(calls_itself_so, system.workers))


async def paused_while_it_writes(system: System) -> tuple[str, ProductProcess]:
    """A photo of which some variants are in the store, and its worker, which stands still."""
    for number in range(10):
        media_id = await accepted(system, draw(201 + number, width=3000, height=2000))
        holder = who_is(system, (await in_hand(system, media_id)).worker_id)
        await eventually(partial(keys_of, system, media_id), until=lambda keys: len(keys) > 1)
        holder.pause()
        if (await stored(system, media_id)).state is State.PROCESSING:
            return media_id, holder
        holder.resume()  # it was quicker than us
    raise AssertionError("no worker could be caught while it wrote")


async def lease_is_over(system: System, media_id: str) -> bool:
    async with system.inside.database.begin() as uow:
        media = await uow.media.get(media_id)
        return media is not None and media.is_overdue(uow.now)


async def test_a_photo_whose_worker_was_killed_is_ready_within_one_and_a_half_leases(
    system: System,
) -> None:
    for worker in system.workers:
        worker.hold_decoding()
    media_id = await accepted(system, draw(200))
    claimed = await in_hand(system, media_id)
    holder = who_is(system, claimed.worker_id)
    for worker in system.workers:
        if worker is not holder:
            worker.resume_forked()
    clock = asyncio.get_running_loop().time
    began = clock()
    holder.kill()
    document = await system.client().finished(media_id)
    seconds = clock() - began
    print(f"{system.name}: READY {seconds:.2f} s after the kill, with a lease of {LEASE_SECONDS} s")
    assert document["status"] == "READY", document
    outcomes = [attempt["outcome"] for attempt in document["attempts"]]
    assert outcomes == ["lease-lost", "succeeded"]
    # Embedded, nobody looks at the lease until the process itself is up again.
    start_seconds = START_SECONDS if system.name == "embedded" else 0.0
    assert seconds < 1.5 * LEASE_SECONDS + PROCESSING_SECONDS + start_seconds
    await only_the_winner_is_left(system, media_id)
    await nothing_waits(system)
    await holder.forked_are_gone()


async def test_what_a_killed_worker_had_already_written_is_removed(system: System) -> None:
    media_id, worker = await paused_while_it_writes(system)
    worker.kill()
    document = await system.client().finished(media_id)
    assert document["status"] == "READY", document
    await only_the_winner_is_left(system, media_id)


@only_production
async def test_a_worker_that_stood_still_past_its_lease_finds_that_it_lost_and_cleans_up(
    system: System,
) -> None:
    media_id, holder = await paused_while_it_writes(system)
    document = await system.client().finished(media_id)
    assert document["status"] == "READY", document
    outcomes = [attempt["outcome"] for attempt in document["attempts"]]
    assert outcomes == ["lease-lost", "succeeded"]
    holder.resume()
    await eventually(lambda: measured(holder, STALE_RESULTS), until=lambda count: count == 1)
    await only_the_winner_is_left(system, media_id)
    assert essence(await system.client().media(media_id)) == essence(document)
    for number in range(4):  # both workers work on
        assert (await finished(system, draw(220 + number)))["status"] == "READY"


@only_embedded
async def test_a_pipeline_that_stood_still_as_a_whole_goes_on_where_it_was(
    system: System,
) -> None:
    media_id, whole = await paused_while_it_writes(system)
    await eventually(lambda: lease_is_over(system, media_id))
    whole.resume()
    document = await system.client().finished(media_id)
    assert document["status"] == "READY", document
    await only_the_winner_is_left(system, media_id)
    await nothing_waits(system)


async def test_a_work_order_that_is_delivered_many_times_is_done_once(
    system: System,
) -> None:
    async def handled() -> float:
        return sum([await measured(worker, PROCESSED) for worker in system.workers])

    await system.whole()
    before = await handled()
    media_id = await accepted(system, draw(210))
    await system.publish(ProcessRequest(media_id, 0), times=10)
    document = await system.client().finished(media_id)
    await system.publish(ProcessRequest(media_id, 0), times=10)

    await eventually(handled, until=lambda count: count >= before + 21)
    await nothing_waits(system)
    assert await handled() == before + 21
    assert [attempt["outcome"] for attempt in document["attempts"]] == ["succeeded"]
    media = await stored(system, media_id)
    assert (media.attempt, media.lease_token) == (1, 1)
    await only_the_winner_is_left(system, media_id)


@only_production
async def test_a_photo_that_outlives_three_workers_is_given_up_with_a_reason(
    system: System,
) -> None:
    media_id = await accepted(system, draw(212, width=6000, height=4000))
    for life in (1, 2, 3):
        claimed = await eventually(
            lambda: stored(system, media_id),
            until=lambda media, life=life: media.lease_token == life,
            seconds=30.0,
        )
        who_is(system, claimed.worker_id).kill()
    document = await system.client().finished(media_id)
    assert document["status"] == "FAILED", document
    assert document["failure"]["code"] == "worker-crashed"
    await eventually(
        lambda: keys_of(system, media_id),
        until=lambda keys: keys == [document["original_key"]],
        seconds=30.0,
    )
