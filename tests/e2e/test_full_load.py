"""A process that has all the work it can take still answers whoever asks how it is."""

import asyncio
from collections.abc import AsyncGenerator

import pytest

from adapters.opentelemetry.instruments import IN_FLIGHT
from entrypoints.client import Document
from tests.e2e.asking import measured
from tests.e2e.photos import draw
from tests.e2e.sending import accepted
from tests.support.lookout import looking_out
from tests.support.services import Services
from tests.support.systems import SYSTEM_NAMES, System, running
from tests.support.waiting import eventually

pytestmark = pytest.mark.anyio

PROBE_SECONDS = 0.05
AT_ONCE = 2
CALLERS = 4
PHOTOS = [draw(number, width=3000, height=2000) for number in range(700, 700 + 3 * AT_ONCE)]


@pytest.fixture(params=SYSTEM_NAMES)
async def system(
    request: pytest.FixtureRequest, services: Services, tmp_path_factory: pytest.TempPathFactory
) -> AsyncGenerator[System]:
    folder = tmp_path_factory.mktemp(f"load-{request.param}")
    settings = {"WORKER_CONCURRENCY": str(AT_ONCE)}
    async with running(request.param, services, folder, settings=settings) as opened:
        yield opened


async def call_for_ever(system: System, media_id: str) -> None:
    """A client that asks again as soon as it is answered."""
    while True:
        await system.client().media(media_id)


async def test_probes_are_answered_at_once_while_photos_and_calls_take_all_there_is(
    system: System,
) -> None:
    (worker,) = system.workers
    ids = await asyncio.gather(*(accepted(system, photo) for photo in PHOTOS))
    await eventually(
        lambda: measured(worker, IN_FLIGHT), until=lambda count: count == AT_ONCE, seconds=30.0
    )
    calling = [asyncio.create_task(call_for_ever(system, ids[0])) for _ in range(CALLERS)]
    async with looking_out(system) as pages:
        ends: list[Document] = await asyncio.gather(*(system.client().finished(i) for i in ids))
    for task in calling:
        task.cancel()
    await asyncio.gather(*calling, return_exceptions=True)
    assert {document["status"] for document in ends} == {"READY"}
    print({name: f"{1000 * said.probe_seconds:.1f} ms" for name, said in pages.items()})
    for said in pages.values():
        assert {status for _, status in said.statuses} == {200}
        assert said.probe_seconds < PROBE_SECONDS
