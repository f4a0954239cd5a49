"""Photos through the whole product by the public calls: how many, and what each one costs."""

import asyncio
import re
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from time import perf_counter
from typing import Any

import aiohttp

from benchmarks.cpu import peak_rss, resident, tree
from benchmarks.process import product
from benchmarks.rig import Bench, Servers, bench
from entrypoints.client import Document, PipelineClient

EDGES = {"large": 2048, "medium": 1024, "small": 512, "thumb": 256}
QUALITY = {"jpeg": 82, "webp": 80}
WARM_UP = 4
SECONDS_MAX = 400.0
_OVER = """
SELECT count(*) FILTER (WHERE state = 'READY') AS ready,
    count(*) FILTER (WHERE state = 'FAILED') AS failed FROM media
"""
_STAGE = re.compile(
    r'pipeline_stage_duration_seconds_sum\{[^}]*stage="([a-z]+)"[^}]*\} ([0-9.e+-]+)'
)


def recipe(form: str) -> str:
    """The default sizes in one format, as the RECIPE setting has it."""
    lines = [f'name = "bench-{form}"']
    for name, edge in EDGES.items():
        lines += ["[[variants]]", f'name = "{name}"', f"width = {edge}", f"height = {edge}"]
        lines += [f'format = "{form}"', f"quality = {QUALITY[form]}"]
    return "\n".join(lines)


async def measure(
    servers: Servers,
    photos: Sequence[Path],
    count: int,
    *,
    engine: str,
    form: str,
    workers: int = 2,
    told: bool = True,
    settings: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """CPU seconds a photo over API, dispatcher and workers, and photos/s once all are uploaded.

    Without telemetry if not `told`: see benchmarks/untold.py.
    """
    async with bench(
        servers, IMAGE_ENGINE=engine, RECIPE=recipe(form), **(settings or {})
    ) as running:
        roles = {"api": "api", "dispatcher": "dispatcher"}
        roles |= {f"worker-{number}": "worker" for number in range(workers)}
        await asyncio.gather(
            *(
                running.start(name, role, command=product(role, told=told))
                for name, role in roles.items()
            )
        )
        async with session() as http:
            client = PipelineClient(running.url, http)
            await complete(client, await upload(client, photos, WARM_UP))
            await _all_ready(running, WARM_UP)
            stages, meter = _stages(running), running.meter()
            meter.start()
            tickets = await upload(client, photos, count)
            began = perf_counter()
            await complete(client, tickets)
            await _all_ready(running, WARM_UP + count)
            seconds, used = perf_counter() - began, meter.stop()
        spent = {name: value - stages.get(name, 0.0) for name, value in _stages(running).items()}
    ours = {name: value / count for name, value in used.items() if name not in servers.pids()}
    return {
        "photos": count,
        "workers": workers,
        "photos_per_second": count / seconds,
        "cpu_seconds": sum(ours.values()),
        "cpu_seconds_by_process": ours,
        "servers_cpu_seconds": sum(used[name] for name in servers.pids()) / count,
        "stage_ms": {name: 1000 * value / count for name, value in spent.items()},
        "others": meter.others / seconds,
    }


async def memory(servers: Servers, photo: Path, *, engine: str, count: int = 6) -> dict[str, Any]:
    """What one slot holds at most while it works on `photo`: the worker and its decoder."""
    async with bench(servers, IMAGE_ENGINE=engine) as running:
        await running.start("api", "api")
        await running.start("dispatcher", "dispatcher")
        worker = await running.start("worker", "worker")
        async with session() as http:
            client = PipelineClient(running.url, http)
            tickets = await upload(client, [photo], count)
            watching = asyncio.create_task(_watch_memory(worker.pid))
            await complete(client, tickets)
            await _all_ready(running, count)
            watching.cancel()
            decoder, together = await watching
    return {"decoder_peak_bytes": decoder, "together_bytes": together}


async def _watch_memory(worker: int) -> tuple[int, int]:
    """The largest child seen, and the most that all had together, what they share counted once."""
    decoder = together = 0
    try:
        while True:
            pids = await asyncio.to_thread(tree, worker)
            decoder = max([decoder, *map(peak_rss, pids[2:])])
            together = max(together, sum(map(resident, pids)))
            await asyncio.sleep(0.02)
    except asyncio.CancelledError:
        return decoder, together


def session() -> aiohttp.ClientSession:
    return aiohttp.ClientSession(skip_auto_headers=["Content-Type"])


async def upload(client: PipelineClient, photos: Sequence[Path], count: int) -> list[Document]:
    """`photos` in turn, put into the store, four at once; not completed."""
    numbers, tickets = iter(range(count)), list[Document]()

    async def some() -> None:
        for number in numbers:
            ticket = await client.request_upload(content_type="image/jpeg", file_name="photo.jpg")
            await client.put(ticket, photos[number % len(photos)])
            tickets.append(ticket)

    await asyncio.gather(*(some() for _ in range(4)))
    return tickets


async def complete(client: PipelineClient, tickets: Sequence[Document]) -> None:
    for ticket in tickets:
        await client.complete(ticket)


async def _all_ready(running: Bench, count: int) -> None:
    async with asyncio.timeout(SECONDS_MAX):
        while True:
            over = await running.database.fetchrow(_OVER)
            if over["failed"]:
                raise SystemExit(f"{over['failed']} photos failed; nothing was measured")
            if over["ready"] == count:
                return
            await asyncio.sleep(0.05)


def _stages(running: Bench) -> dict[str, float]:
    """Seconds that the workers have spent in each stage so far, by their metrics pages."""
    total: dict[str, float] = {}
    for role, process in running.processes.values():
        if role == "worker":
            url = f"http://127.0.0.1:{process.port}/metrics"
            with urllib.request.urlopen(url, timeout=5) as page:
                text = page.read().decode()
            for stage, seconds in _STAGE.findall(text):
                total[stage] = total.get(stage, 0.0) + float(seconds)
    return total
