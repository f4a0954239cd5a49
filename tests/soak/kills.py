"""Random kills of everything that can die, the servers included, for as long as one likes."""

import asyncio
from pathlib import Path

from tests.e2e.asking import dead_letters, nothing_waits
from tests.e2e.photos import draw
from tests.support.ordeal import Killer, Load, reckon, victims_of
from tests.support.process import Server
from tests.support.servers import Minio, Postgres, RabbitMq
from tests.support.services import Services
from tests.support.systems import Servers, System, SystemName, running

PROGRESS_SECONDS = 10.0
PAUSE_SECONDS = (0.5, 3.0)
CLIENTS = 6


async def endure_kills(
    name: SystemName, services: Services, folder: Path, *, seconds: float, seed: int
) -> bool:
    """Whether every promise was kept, after kills for `seconds`."""
    folder.mkdir(parents=True, exist_ok=True)
    servers, mortal = _servers(name, services)
    async with (
        running(name, services, folder, workers=2, servers=servers) as system,
        system.supervised(),
    ):
        photos = [draw(number, width=320, height=240) for number in range(64)]
        load = Load(system, photos, clients=CLIENTS)
        killer = Killer(victims_of(system, mortal), seed, pause_seconds=PAUSE_SECONDS)
        enough, clock = asyncio.Event(), asyncio.get_running_loop().time
        end = clock() + seconds
        async with asyncio.TaskGroup() as group:
            group.create_task(load.run(enough))
            telling = group.create_task(_tell(load, killer))
            await killer.run(lambda: clock() > end)
            enough.set()
            telling.cancel()
        return await _report(system, load, killer)


def _servers(name: SystemName, services: Services) -> tuple[Servers | None, dict[str, Server]]:
    """Servers that are ours to kill."""
    if name == "embedded":
        return None, {}
    mortal = {
        "database": services.get(Postgres),
        "broker": services.get(RabbitMq),
        "store": services.get(Minio),
    }
    return Servers(services.postgres_url(), services.rabbitmq_url(), services.minio()), {**mortal}


async def _tell(load: Load, killer: Killer) -> None:
    while True:
        await asyncio.sleep(PROGRESS_SECONDS)
        ended = [p.seconds for p in load.promises if p.seconds is not None]
        slowest = max(ended, default=0.0)
        print(
            f"  jobs {len(load.promises)}, kills {killer.total}, "
            f"under way {len(load.promises) - len(ended)}, slowest {slowest:.1f} s",
            flush=True,
        )


async def _report(system: System, load: Load, killer: Killer) -> bool:
    await system.whole()
    report = await reckon(system, load.promises)
    await nothing_waits(system)
    letters = await dead_letters(system)
    by_themselves = [death for death in system.deaths if death[1] != -9]
    kills = ", ".join(f"{name} {count}" for name, count in sorted(killer.kills.items()))
    print(f"{system.name}: {report}", flush=True)
    print(f"  kills {killer.total}: {kills}")
    print(f"  dead letters {len(letters)}; processes that ended by themselves {by_themselves}")
    for broken in (*report.lost, *report.twice, *report.stuck):
        print(f"  BROKEN: {broken}")
    return report.is_clean and not letters and not by_themselves
