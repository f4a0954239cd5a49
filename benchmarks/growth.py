"""Whether a job costs the same when the table is large and the queue is long."""

import asyncio
import itertools
import json
from collections.abc import Sequence
from datetime import UTC, datetime
from time import perf_counter
from typing import Any

from adapters.postgres.connections import Limits
from adapters.sql import load_statements
from benchmarks import feeding
from benchmarks.latency import quantiles
from benchmarks.overhead import COPY_WORKER, WARM_UP
from benchmarks.rig import Bench, Servers, bench

SINGLES = 30
PUBLISH_SECONDS = 600.0
_PUBLISHED = "SELECT count(*) = 0 FROM outbox WHERE published_at IS NULL"


async def by_rows(servers: Servers, rows: Sequence[int], jobs: int) -> list[dict[str, Any]]:
    """CPU ms a job and time to READY, one database that grows; ends with the queries' plans."""
    results: list[dict[str, Any]] = []
    async with bench(servers, WORKER_CONCURRENCY="2") as running:
        await running.start("dispatcher", "dispatcher")
        await running.start("worker", "worker", command=[*COPY_WORKER, "--no-store"])
        first = await _work(running, 1, WARM_UP)
        for former, count in itertools.pairwise((0, *rows)):
            await feeding.add_filler(running, former + 1, count)
            first = await _work(running, first, WARM_UP)
            meter = running.meter()
            await feeding.add_jobs(running, jobs, first=first)
            meter.start()
            await _release(running, first, jobs)
            used = {name: 1000 * value / jobs for name, value in meter.stop().items()}
            first += jobs
            took: list[float] = []
            for _ in range(SINGLES):
                await feeding.add_jobs(running, 1, first=first)
                began = perf_counter()
                await _release(running, first, 1)
                took.append(perf_counter() - began)
                first += 1
            results.append({"rows": count, "cpu_ms": used, **quantiles(took)})
        results[-1]["plans"] = await _plans(running)
    return results


async def by_backlog(servers: Servers, messages: int, jobs: int) -> dict[str, Any]:
    """Relay `messages` while nobody takes them; then what a job costs with the rest behind it."""
    async with bench(servers, WORKER_CONCURRENCY="2") as running:
        await feeding.add_jobs(running, messages)
        await running.start("dispatcher", "dispatcher")
        meter = running.meter()
        meter.start()
        began = perf_counter()
        await feeding.release(running, 1, messages)
        async with asyncio.timeout(PUBLISH_SECONDS):
            while not await running.database.fetchval(_PUBLISHED):  # noqa: ASYNC110 - in the database
                await asyncio.sleep(0.1)
        relayed = perf_counter() - began
        relay_ms = {name: 1000 * value / messages for name, value in meter.stop().items()}
        await running.start("worker", "worker", command=[*COPY_WORKER, "--no-store"])
        await feeding.all_ready(running, 1, WARM_UP)
        meter = running.meter()
        meter.start()
        done = await _count(running)
        await feeding.all_ready(running, done + 1, done + jobs)
        used, done = meter.stop(), await _count(running) - done
        return {
            "messages": messages,
            "relayed_per_second": messages / relayed,
            "relay_cpu_ms": relay_ms,
            "cpu_ms": {name: 1000 * value / done for name, value in used.items()},
        }


async def _work(running: Bench, first: int, count: int) -> int:
    await feeding.add_jobs(running, count, first=first)
    await _release(running, first, count)
    return first + count


async def _release(running: Bench, first: int, count: int) -> None:
    await feeding.release(running, first, first + count - 1)
    await feeding.all_ready(running, first, first + count - 1, poll_seconds=0.002)


async def _count(running: Bench) -> int:
    return await running.database.fetchval("SELECT count(*) FROM media WHERE state = 'READY'")


async def _plans(running: Bench) -> list[dict[str, Any]]:
    """Index and milliseconds of each query of the hot path, as the product's sessions run it."""
    for name, value in Limits().server_settings().items():
        await running.database.execute("SELECT set_config($1, $2, false)", name, value)
    media, outbox, overview = (
        load_statements("adapters.postgres", f"{name}.sql")
        for name in ("media", "outbox", "overview")
    )
    states = ["PENDING_UPLOAD", "PROCESSING", "RETRYING", "UPLOADED"]
    now = datetime.now(UTC)
    return [
        await _plan(running, "media.get_locked", media["get_locked"], feeding.job_id(1)),
        await _plan(running, "media.due", media["due"], states, now, None, "", 100),
        await _plan(running, "outbox.claim", outbox["claim"], 100, 30.0),
        await _plan(running, "overview.backlog", overview["backlog"], states),
    ]


async def _plan(running: Bench, name: str, query: str, *arguments: Any) -> dict[str, Any]:
    text = await running.database.fetchval(f"EXPLAIN (ANALYZE, FORMAT JSON) {query}", *arguments)
    plan = json.loads(text)[0]
    return {
        "query": name,
        "indexes": sorted(set(_indexes(plan["Plan"]))),
        "ms": plan["Execution Time"],
    }


def _indexes(node: dict[str, Any]) -> list[str]:
    """The indexes of a plan; a scan that uses none is shown as such."""
    own = [node["Index Name"]] if "Index Name" in node else []
    if node["Node Type"] == "Seq Scan":
        own = [f"none: {node['Relation Name']} is read in order"]
    return own + [name for child in node.get("Plans", ()) for name in _indexes(child)]
