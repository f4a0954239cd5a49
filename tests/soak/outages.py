"""Each server away for thirty seconds, down and half-open, over and over."""

import asyncio
from pathlib import Path

from tests.e2e.asking import dead_letters, nothing_waits
from tests.e2e.photos import draw
from tests.support.outages import Links, suffer
from tests.support.servers import Toxiproxy
from tests.support.services import Services
from tests.support.systems import System, running
from tests.support.toxiproxy import Link, link_to

OUTAGE_SECONDS = 30.0
FAULTS = {"down": Link.cut, "half-open": Link.swallow}


async def endure_outages(services: Services, folder: Path, *, seconds: float) -> bool:
    """Whether all healed by itself; every server in every way at least once."""
    folder.mkdir(parents=True, exist_ok=True)
    toxiproxy = services.get(Toxiproxy)
    urls = services.postgres_url(), services.rabbitmq_url(), services.minio().endpoint
    links = Links(*(link_to(toxiproxy, url) for url in urls))
    clock = asyncio.get_running_loop().time
    end, healed = clock() + seconds, True
    async with running("production", services, folder, workers=2, through=links.lead) as system:
        while True:
            healed &= await _round(system, links)
            if clock() > end:
                break
        await nothing_waits(system)
        letters = await dead_letters(system)
        print(f"outages: dead letters {len(letters)}", flush=True)
        return healed and not letters


async def _round(system: System, links: Links) -> bool:
    healed = True
    photos = [draw(number, width=320, height=240) for number in range(9)]
    for name in ("broker", "database", "store"):
        for way, fault in FAULTS.items():
            link: Link = getattr(links, name)
            pids = [process.pid for process in system.processes.values()]
            outage = await suffer(
                system, link, lambda f=fault, to=link: f(to), seconds=OUTAGE_SECONDS, photos=photos
            )
            statuses = {document["status"] for document in outage.photos}
            same = pids == [p.pid for p in system.processes.values() if p.running]
            in_time = outage.healed_seconds < 2 * OUTAGE_SECONDS
            print(f"  {name} {way} for {OUTAGE_SECONDS:.0f} s: {outage}", flush=True)
            healed &= statuses == {"READY"} and same and in_time
    return healed
