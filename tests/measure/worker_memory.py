"""The memory of a worker: does it grow with the photos, and do large photos queue up for it?

    .venv/bin/python -m tests.measure.worker_memory             both engines, production set
    .venv/bin/python -m tests.measure.worker_memory --set embedded --photos 200 vips

It starts real servers on free ports and in temporary folders. Growth: the resident memory of the
worker's own process after 50 photos and after all of them. Queueing: eight photos of 50 megapixels
at once on a worker with eight slots and 1 GiB for decoding, and the most that the worker and its
children had in memory together, pages that they share counted once.
"""

import argparse
import asyncio
import tempfile
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from entrypoints.demo import draw_photo
from entrypoints.settings import Engine
from tests.e2e.sending import accepted
from tests.images.drawing import encoded, ramp
from tests.measure.time_to_ready import DEFAULTS
from tests.support.process import descendants, resident_bytes, shared_out_bytes
from tests.support.services import Services, services_of_a_program
from tests.support.systems import SYSTEM_NAMES, System, SystemName, running

MIB = 1 << 20
AT_ONCE = 4
EARLY = 50
HUGE = 8165, 6123  # 50 megapixels
SLOTS = 8
BUDGET_BYTES = 1 << 30
SAMPLE_SECONDS = 0.05


async def finish(system: System, photo: bytes, count: int) -> None:
    """Send `count` photos, a few at a time, and wait for each to be READY."""
    clients = asyncio.Semaphore(AT_ONCE)

    async def one() -> None:
        async with clients:
            document = await system.client().finished(await accepted(system, photo))
            assert document["status"] == "READY", document["failure"]

    await asyncio.gather(*(one() for _ in range(count)))


async def growth(system: System, count: int) -> str:
    photo = draw_photo(800, 600)
    pid = system.workers[0].pid
    await finish(system, photo, EARLY)
    before = resident_bytes(pid)
    await finish(system, photo, count - EARLY)
    after = resident_bytes(pid)
    return (
        f"worker after {EARLY} photos {before / MIB:.0f} MiB, "
        f"after {count} {after / MIB:.0f} MiB: {after / before:.2f}"
    )


async def queueing(system: System) -> str:
    photo = encoded(ramp(*HUGE), "JPEG", progressive=True)
    pid = system.workers[0].pid
    client = system.client(patience_seconds=240)
    ids = [await accepted(system, photo) for _ in range(SLOTS)]
    waiting = asyncio.gather(*map(client.finished, ids))
    most = 0
    while not waiting.done():
        most = max(most, sum(map(shared_out_bytes, (pid, *descendants(pid)))))
        await asyncio.sleep(SAMPLE_SECONDS)
    states = sorted(document["status"] for document in await waiting)
    return (
        f"{SLOTS} photos of 50 megapixels on {SLOTS} slots, {BUDGET_BYTES // MIB} MiB for them, "
        f"{' '.join(states)}: at most {most / MIB:.0f} MiB in the worker and its children"
    )


async def measure(name: SystemName, services: Services, engine: Engine, photos: int) -> None:
    settings = {**DEFAULTS, "IMAGE_ENGINE": engine.value}
    large = {"WORKER_CONCURRENCY": str(SLOTS), "WORKER_MEMORY_BYTES": str(BUDGET_BYTES)}
    async with _started(name, services, settings) as system:
        print(f"{engine.value:<7}", await growth(system, photos), flush=True)
    async with _started(name, services, settings | large) as system:
        print(f"{engine.value:<7}", await queueing(system), flush=True)


@asynccontextmanager
async def _started(
    name: SystemName, services: Services, settings: Mapping[str, str]
) -> AsyncGenerator[System]:
    with tempfile.TemporaryDirectory(prefix="image-pipeline-measure-") as folder:
        async with running(name, services, Path(folder), settings=settings) as system:
            yield system


def main() -> None:
    parser = argparse.ArgumentParser(description="The memory of a worker.")
    parser.add_argument("engines", nargs="*", type=Engine, metavar="ENGINE", default=list(Engine))
    parser.add_argument("--set", choices=SYSTEM_NAMES, default="production")
    parser.add_argument("--photos", type=int, default=1000)
    options = parser.parse_args()
    with services_of_a_program() as services:
        for engine in options.engines:
            asyncio.run(measure(options.set, services, engine, options.photos))


if __name__ == "__main__":
    main()
