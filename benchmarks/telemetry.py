"""What it costs to be told: the same work with all telemetry and with none.

First the whole pipeline with the one and with the other, in turn; then workers of each kind beside
each other on one queue, which tells small differences on a machine that others use too.

Spans go to a real Jaeger beside the other servers. Its processor time is not ours and is not
counted, but it takes a share of the same cores, so throughput suffers more here than where the
collector has a machine of its own.
"""

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import mean, median
from typing import Any

from benchmarks import feeding, throughput
from benchmarks.cpu import Meter
from benchmarks.process import product, python
from benchmarks.rig import Bench, Servers, bench
from entrypoints.settings import Engine
from tests.support.servers import Jaeger

TURNS = 2
ROUNDS = 5
WARM_UP = 50
PHOTO_ROUNDS = 2
WARM_UP_PHOTOS = 8
# The worker that has ended a job, and how many it has ended.
_BY_WORKER = """
SELECT attempts::jsonb -> -1 ->> 'worker_id' AS worker, count(*) AS jobs FROM media
WHERE id BETWEEN $1 AND $2 GROUP BY 1
"""


@dataclass(frozen=True, kw_only=True)
class Kind:
    """How much is told; `name` is that of the row, and of the worker."""

    name: str
    told: bool = True
    settings: Mapping[str, str] = field(default_factory=dict[str, str])


def kinds(jaeger: Jaeger) -> list[Kind]:
    """Nothing, what a process does without a collector, and all of it."""
    return [
        Kind(name="none", told=False, settings={"LOG_LEVEL": "error"}),
        Kind(name="metrics and lines"),
        Kind(
            name="all, spans exported",
            settings={"OTEL_EXPORTER_OTLP_ENDPOINT": jaeger.otlp_endpoint},
        ),
    ]


async def measure(
    servers: Servers, photos: Sequence[Path], count: int, jobs: int
) -> dict[str, list[dict[str, Any]]]:
    """Rows by kind of job; the first row of each is the one without telemetry."""
    async with _jaeger() as jaeger:
        nothing, lines, everything = kinds(jaeger)
        return {
            "photo, JPEG, all": await _in_turn(servers, photos, count, (nothing, everything)),
            "photo, JPEG, worker": await _photos_side_by_side(
                servers, photos, count, (nothing, everything)
            ),
            "no-op, worker": await _jobs_side_by_side(servers, jobs, (nothing, lines, everything)),
        }


@asynccontextmanager
async def _jaeger() -> AsyncGenerator[Jaeger]:
    if Jaeger.find() is None:
        raise SystemExit(f"{Jaeger.name} is not here: {Jaeger.how_to_get}")
    jaeger = Jaeger()
    try:
        await asyncio.to_thread(jaeger.start)
        yield jaeger
    finally:
        jaeger.close()


async def _in_turn(
    servers: Servers, photos: Sequence[Path], count: int, chosen: Sequence[Kind]
) -> list[dict[str, Any]]:
    """The whole pipeline with the one, with the other, and again, because the machine drifts."""
    runs: dict[str, list[dict[str, Any]]] = {kind.name: [] for kind in chosen}
    for _ in range(TURNS):
        for kind in chosen:
            runs[kind.name].append(
                await throughput.measure(
                    servers,
                    photos,
                    count,
                    engine=Engine.PILLOW,
                    form="jpeg",
                    told=kind.told,
                    settings=kind.settings,
                )
            )
    return [
        {
            "telemetry": name,
            "cpu_ms": 1000 * mean(run["cpu_seconds"] for run in found),
            "runs_cpu_ms": [1000 * run["cpu_seconds"] for run in found],
            "per_second": mean(run["photos_per_second"] for run in found),
            "others": mean(run["others"] for run in found),
        }
        for name, found in runs.items()
    ]


async def _photos_side_by_side(
    servers: Servers, photos: Sequence[Path], count: int, chosen: Sequence[Kind]
) -> list[dict[str, Any]]:
    settings = {"IMAGE_ENGINE": Engine.PILLOW, "RECIPE": throughput.recipe("jpeg")}
    async with bench(servers, **settings) as running:
        total = WARM_UP_PHOTOS + PHOTO_ROUNDS * count
        etags = feeding.etags(photos)
        await feeding.add_jobs(running, total, etags=etags, traceparent=feeding.SAMPLED)
        store = running.servers.store()
        await store.open()
        await feeding.put_originals(store, photos, 1, total)
        await store.close()
        commands = {kind.name: product("worker", told=kind.told) for kind in chosen}
        return await _side_by_side(
            running, chosen, commands, warm_up=WARM_UP_PHOTOS, total=total, count=count
        )


async def _jobs_side_by_side(
    servers: Servers, count: int, chosen: Sequence[Kind]
) -> list[dict[str, Any]]:
    async with bench(servers, WORKER_CONCURRENCY="2") as running:
        total = WARM_UP + ROUNDS * count
        await feeding.add_jobs(running, total, traceparent=feeding.SAMPLED)
        commands = {
            kind.name: python(
                "benchmarks.copy_worker", "--no-store", "--name", kind.name, told=kind.told
            )
            for kind in chosen
        }
        return await _side_by_side(
            running, chosen, commands, warm_up=WARM_UP, total=total, count=count
        )


async def _side_by_side(
    running: Bench,
    chosen: Sequence[Kind],
    commands: Mapping[str, Sequence[str]],
    *,
    warm_up: int,
    total: int,
    count: int,
) -> list[dict[str, Any]]:
    """A worker of each kind on the same queue at the same time: what disturbs one disturbs all."""
    await running.start("dispatcher", "dispatcher")
    for kind in chosen:
        await running.start(kind.name, "worker", command=commands[kind.name], **kind.settings)
    await _round(running, chosen, 1, warm_up)
    rounds = [
        await _round(running, chosen, first, first + count - 1)
        for first in range(warm_up + 1, total, count)
    ]
    return [
        {
            "telemetry": kind.name,
            "cpu_ms": median(cpu_ms[kind.name] for cpu_ms, _ in rounds),
            "runs_cpu_ms": [cpu_ms[kind.name] for cpu_ms, _ in rounds],
            "others": mean(others for _, others in rounds),
        }
        for kind in chosen
    ]


async def _round(
    running: Bench, chosen: Sequence[Kind], first: int, last: int
) -> tuple[dict[str, float], float]:
    """CPU ms a job of each worker, and the cores that others used."""
    clock = asyncio.get_running_loop().time
    meter = Meter({kind.name: [running.processes[kind.name][1].pid] for kind in chosen})
    meter.start()
    began = clock()
    await feeding.release(running, first, last)
    await feeding.all_ready(running, first, last)
    used, seconds = meter.stop(), clock() - began
    rows = await running.database.fetch(_BY_WORKER, feeding.job_id(first), feeding.job_id(last))
    done = {_name_of(running, row["worker"], chosen): row["jobs"] for row in rows}
    return {name: 1000 * cpu / done[name] for name, cpu in used.items()}, meter.others / seconds


def _name_of(running: Bench, worker_id: str, chosen: Sequence[Kind]) -> str:
    """A worker that was given a name, or has logged its id, or is the one that logs nothing."""
    for kind in chosen:
        if worker_id == kind.name or worker_id in running.processes[kind.name][1].log.read_text():
            return kind.name
    return next(kind.name for kind in chosen if not kind.told)
