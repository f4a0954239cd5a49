"""SIGTERM: what is under way is finished or given back, nobody pays for it, exit code 0."""

import asyncio
import operator
import os
import signal
from collections.abc import AsyncGenerator
from functools import partial

import pytest

from tests.e2e.asking import dead_letters, nothing_waits, only_the_winner_is_left
from tests.e2e.photos import draw
from tests.e2e.sending import accepted
from tests.support.ordeal import Load, reckon
from tests.support.product import ProductProcess
from tests.support.services import Services
from tests.support.systems import SYSTEM_NAMES, System, running
from tests.support.waiting import eventually

pytestmark = pytest.mark.anyio

GRACE_SECONDS = 2.0
LETTING_GO_SECONDS = 2.0
RESTARTS = 3
PHOTOS = [draw(number, width=320, height=240) for number in range(500, 508)]

only_production = pytest.mark.parametrize("system", ["production"], indirect=True)


@pytest.fixture(scope="module", params=SYSTEM_NAMES)
async def system(
    request: pytest.FixtureRequest, services: Services, tmp_path_factory: pytest.TempPathFactory
) -> AsyncGenerator[System]:
    folder = tmp_path_factory.mktemp(f"graceful-{request.param}")
    # No photo may have to wait for its message to be presumed lost.
    settings = {"GRACE_SECONDS": str(GRACE_SECONDS), "REQUEUE_SECONDS": "60"}
    async with running(request.param, services, folder, workers=3, settings=settings) as opened:
        yield opened


async def stopped(process: ProductProcess) -> float:
    """The seconds it took; the exit code was 0."""
    clock = asyncio.get_running_loop().time
    began = clock()
    assert await process.stop() == 0, process.output()[-3000:]
    return clock() - began


async def busy_without_end(system: System) -> tuple[str, ProductProcess]:
    """A photo whose decoder stands still, and the worker that waits for it."""

    async def decoding() -> list[tuple[int, ProductProcess]]:
        return [(child, worker) for worker in system.workers for child in worker.decoders()]

    media_id = await accepted(system, draw(490, width=3000, height=2000))
    ((child, worker),) = await eventually(decoding)
    os.kill(child, signal.SIGSTOP)
    return media_id, worker


async def test_a_worker_that_cannot_finish_in_time_gives_its_photo_back_uncharged(
    system: System,
) -> None:
    media_id, worker = await busy_without_end(system)
    assert await stopped(worker) < GRACE_SECONDS + LETTING_GO_SECONDS
    worker.start()
    document = await system.client().finished(media_id)
    assert document["status"] == "READY", document
    assert [attempt["outcome"] for attempt in document["attempts"]] == ["released", "succeeded"]
    assert document["attempt"] == 1
    assert await dead_letters(system) == []
    await worker.ready()
    await only_the_winner_is_left(system, media_id)


async def test_a_rolling_restart_under_load_costs_no_photo_and_no_attempt(system: System) -> None:
    load, enough = Load(system, PHOTOS, clients=2), asyncio.Event()
    async with asyncio.TaskGroup() as group:
        group.create_task(load.run(enough))
        for worker in system.workers * (RESTARTS // len(system.workers)):
            enough_to_be_busy = len(load.promises) + 3
            await eventually(load.count, until=partial(operator.le, enough_to_be_busy))
            assert await stopped(worker) < GRACE_SECONDS + LETTING_GO_SECONDS
            worker.start()
            await worker.ready()
        enough.set()
    report = await reckon(system, load.promises)
    print(f"{system.name}: {report}")
    assert report.is_clean
    assert report.ready == report.accepted
    for promise in load.promises:
        outcomes = {attempt["outcome"] for attempt in promise.end["attempts"]}
        assert promise.end["attempt"] == 1
        assert outcomes <= {"succeeded", "released"}
    assert await dead_letters(system) == []
    await nothing_waits(system)


async def test_every_process_that_is_idle_stops_at_once(system: System) -> None:
    """The last test here: afterwards nothing runs any more."""
    await nothing_waits(system)
    for seconds in await asyncio.gather(*map(stopped, system.processes.values())):
        assert seconds < GRACE_SECONDS + LETTING_GO_SECONDS
    for process in system.processes.values():
        assert process.events("process_stopped"), process.output()[-500:]
        assert not [secret for secret in system.secrets if secret in process.output()]
