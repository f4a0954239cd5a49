"""From the moment a client sends complete-upload until READY is durable."""

import asyncio
import random
import sys
import time
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from benchmarks.process import ROOT
from benchmarks.rig import Bench, Servers, bench
from benchmarks.throughput import recipe, session, upload
from entrypoints.bootstrap import DECODERS
from entrypoints.client import Document, PipelineClient
from entrypoints.settings import Engine

WARM_UP = 4
_COMMITTED = """
SELECT id, extract(epoch FROM pg_xact_commit_timestamp(xmin))::float8 AS at
FROM media WHERE id = ANY($1) AND state = 'READY'
"""


async def production(
    servers: Servers, photos: Sequence[Path], count: int, *, per_second: float | None = None
) -> dict[str, float]:
    """One photo after the other, or, with `per_second`, arriving at random at that rate."""
    settings = {"SWEEP_SECONDS": "600", "RECIPE": recipe("jpeg")}  # a sweep would touch the rows
    async with bench(servers, **settings) as running, session() as http:
        await running.start("api", "api")
        await running.start("dispatcher", "dispatcher")
        for number in range(2):
            await running.start(f"worker-{number}", "worker")
        client = PipelineClient(running.url, http)
        tickets = await upload(client, photos, WARM_UP + count)
        sent = dict[str, float]()
        for ticket in tickets[:WARM_UP]:
            await _complete(client, ticket, sent)
            await client.finished(ticket["media_id"])
        sent.clear()
        await _send(client, tickets[WARM_UP:], sent, per_second)
        return quantiles(await _seconds(running, sent))


async def embedded(servers: Servers, photos: Sequence[Path], count: int) -> dict[str, float]:
    """The same in one process; its own `updated_at` stands for the commit, a moment before it."""
    async with bench(servers, RECIPE=recipe("jpeg")) as running, session() as http:
        data = str(running.folder / "data")
        await running.start("api", "embedded", DATA_DIR=data, WORKER_METRICS_PORT="0")
        client = PipelineClient(running.url, http)
        took: list[float] = []
        for ticket in await upload(client, photos, WARM_UP + count):
            sent = dict[str, float]()
            await _complete(client, ticket, sent)
            done = await client.finished(ticket["media_id"])
            ready = datetime.fromisoformat(done["updated_at"]).timestamp()
            took.append(ready - sent[ticket["media_id"]])
        return quantiles(took[WARM_UP:])


async def bare(photos: Sequence[Path], engine: Engine) -> float:
    """Milliseconds that the picture alone takes."""
    command = [sys.executable, "-m", "benchmarks.bare", DECODERS[engine], "jpeg"]
    process = await asyncio.create_subprocess_exec(
        *command, *map(str, photos), cwd=ROOT, stdout=asyncio.subprocess.PIPE
    )
    output, _ = await process.communicate()
    return float(output)


def quantiles(seconds: Sequence[float]) -> dict[str, float]:
    """Median, 95 and 99 of 100, in milliseconds."""
    ordered = sorted(seconds)
    ranks = {"p50": 0.50, "p95": 0.95, "p99": 0.99}
    last = len(ordered) - 1
    return {name: 1000 * ordered[round(rank * last)] for name, rank in ranks.items()}


async def _send(
    client: PipelineClient,
    tickets: Sequence[Document],
    sent: dict[str, float],
    per_second: float | None,
) -> None:
    chance = random.Random(1)  # noqa: S311 - arrivals, no secret
    async with asyncio.TaskGroup() as group:
        for ticket in tickets:
            if per_second is None:
                await _complete(client, ticket, sent)
                await client.finished(ticket["media_id"])
            else:
                group.create_task(_complete(client, ticket, sent))
                await asyncio.sleep(chance.expovariate(per_second))
    for ticket in tickets:
        await client.finished(ticket["media_id"])


async def _complete(client: PipelineClient, ticket: Document, sent: dict[str, float]) -> None:
    sent[ticket["media_id"]] = time.time()
    await client.complete(ticket)


async def _seconds(running: Bench, sent: dict[str, float]) -> list[float]:
    rows: Any = await running.database.fetch(_COMMITTED, list(sent))
    assert len(rows) == len(sent), "every photo is READY"
    return [row["at"] - sent[row["id"]] for row in rows]
