"""Photos go through while processes are killed, and no promise to a client is broken."""

import asyncio
from pathlib import Path

import pytest

from domain.failure import FailureCode
from tests.e2e.asking import dead_letters, nothing_waits
from tests.e2e.photos import draw
from tests.support.ordeal import Killer, Load, reckon, victims_of
from tests.support.servers import RabbitMq
from tests.support.services import Services
from tests.support.systems import Servers, SystemName, running
from tests.support.waiting import eventually

pytestmark = pytest.mark.anyio

SEED = 20_260_304
KILLS = 8
PHOTOS = 30
# What an innocent photo may end with when it is hit again and again.
DEATHS = {FailureCode.WORKER_CRASHED, FailureCode.DECODER_CRASHED, FailureCode.ATTEMPTS_EXHAUSTED}


async def test_kills_of_every_process_and_of_the_broker_lose_nothing_in_production(
    services: Services, tmp_path: Path, rabbitmq_server: RabbitMq
) -> None:
    servers = Servers(services.postgres_url(), rabbitmq_server.url, services.minio())
    await go_through("production", services, tmp_path, servers, {"broker": rabbitmq_server})


async def test_kills_of_the_process_and_of_its_decoders_lose_nothing_when_embedded(
    services: Services, tmp_path: Path
) -> None:
    await go_through("embedded", services, tmp_path, None, {})


async def go_through(
    name: SystemName,
    services: Services,
    folder: Path,
    servers: Servers | None,
    mortal: dict[str, RabbitMq],
) -> None:
    async with (
        running(name, services, folder, workers=2, servers=servers) as system,
        system.supervised(),
    ):
        load = Load(system, [draw(number, width=320, height=240) for number in range(16)])
        killer = Killer(victims_of(system, mortal), SEED)
        enough = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            group.create_task(load.run(enough))
            await killer.run(lambda: killer.total >= KILLS)
            await eventually(load.count, until=lambda count: count >= PHOTOS, seconds=60.0)
            enough.set()
        await system.whole()
        report = await reckon(system, load.promises)
        print(f"{name}: {report}; kills {dict(killer.kills)}")
        assert report.is_clean, report
        assert set(report.failed) <= DEATHS
        assert report.ready >= report.accepted - sum(report.failed.values())
        assert report.ready > 0.9 * report.accepted
        assert set(killer.kills) == set(killer.victims)
        assert {code for _, code in system.deaths} == {-9}, system.deaths
        await nothing_waits(system)
        assert await dead_letters(system) == []
        for process in system.processes.values():
            await process.forked_are_gone()
