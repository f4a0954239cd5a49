"""What the protocol costs a job when the picture costs nothing."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from time import perf_counter
from typing import Any

from benchmarks import feeding
from benchmarks.rig import Bench, Servers, bench

WORKERS = 2
COPY_WORKER = [sys.executable, "-m", "benchmarks.copy_worker"]
WARM_UP = 50


async def measure(
    servers: Servers, photos: Sequence[Path], jobs: int, *, with_store: bool, **settings: str
) -> dict[str, Any]:
    """CPU ms a job by process and server, and jobs/s; then once more, sampled, by part."""
    async with bench(servers, WORKER_CONCURRENCY="2", **settings) as running:
        await _prepare(running, photos, WARM_UP + jobs, with_store=with_store)
        await running.start("dispatcher", "dispatcher")
        command = COPY_WORKER if with_store else [*COPY_WORKER, "--no-store"]
        for number in range(WORKERS):
            await running.start(f"worker-{number}", "worker", command=command)
        await _run(running, 1, WARM_UP)
        return await _run(running, WARM_UP + 1, WARM_UP + jobs)


async def by_part(
    servers: Servers, photos: Sequence[Path], jobs: int, *, with_store: bool, **settings: str
) -> dict[str, Any]:
    """One worker's processor ms a job by part of the protocol, as sampled."""
    async with bench(servers, WORKER_CONCURRENCY="2", **settings) as running:
        await _prepare(running, photos, jobs, with_store=with_store)
        report = running.folder / "samples.json"
        command = [*COPY_WORKER, "--sample", str(report), *([] if with_store else ["--no-store"])]
        await running.start("dispatcher", "dispatcher")
        await running.start("worker", "worker", command=command)
        done = await _run(running, 1, jobs)
        running.stop("worker")
        samples = json.loads(report.read_text())
        total = sum(samples["parts"].values())
        ms = {part: done["cpu_ms"]["worker"] * n / total for part, n in samples["parts"].items()}
        return {"parts_ms": ms, "functions": samples["functions"]}


async def _prepare(running: Bench, photos: Sequence[Path], jobs: int, *, with_store: bool) -> None:
    await feeding.add_jobs(running, jobs, etags=feeding.etags(photos))
    if with_store:
        store = running.servers.store()
        await store.open()
        try:
            await feeding.put_originals(store, photos, 1, jobs)
        finally:
            await store.close()


async def _run(running: Bench, first: int, last: int) -> dict[str, Any]:
    jobs, meter = last - first + 1, running.meter()
    meter.start()
    began = perf_counter()
    await feeding.release(running, first, last)
    await feeding.all_ready(running, first, last)
    seconds, used = perf_counter() - began, meter.stop()
    return {
        "jobs": jobs,
        "jobs_per_second": jobs / seconds,
        "cpu_ms": {name: 1000 * value / jobs for name, value in used.items()},
        "others": meter.others / seconds,
    }
