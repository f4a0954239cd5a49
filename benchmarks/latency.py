"""From the moment a client sends complete-upload until READY.

At rest that is the photo's own `updated_at`, the time at which its last transaction began; the
commit follows within a few milliseconds. Under load it is the time of the commit itself.
"""

import asyncio
import itertools
import random
import sys
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from benchmarks.process import ROOT
from benchmarks.rig import Bench, Servers, bench
from benchmarks.throughput import recipe, session, upload
from entrypoints.client import Document, PipelineClient
from entrypoints.settings import Engine

WARM_UP = 4
WORKERS = 2
# A sweep would touch the rows whose commits are asked for.
SETTINGS = {"SWEEP_SECONDS": "600", "RECIPE": recipe("jpeg")}
_COMMITTED = """
SELECT id, extract(epoch FROM pg_xact_commit_timestamp(xmin))::float8 AS at
FROM media WHERE id = ANY($1) AND state = 'READY'
"""


class Bare:
    """The picture alone, in a process that is warm."""

    def __init__(self, process: asyncio.subprocess.Process, photos: Sequence[Path]) -> None:
        self._process = process
        self._photos = itertools.cycle(photos)
        self.seconds: list[float] = []

    async def next(self) -> None:
        """Process the next photo, and note how long that took."""
        reader, writer = self._process.stdout, self._process.stdin
        assert reader is not None
        assert writer is not None
        writer.write(f"{next(self._photos)}\n".encode())
        self.seconds.append(float(await reader.readline()))


@asynccontextmanager
async def bare(photos: Sequence[Path], engine: Engine) -> AsyncGenerator[Bare]:
    """Ready to process photos."""
    command = [sys.executable, "-m", "benchmarks.bare", f"adapters.{engine}.decoder", "jpeg"]
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*command, cwd=ROOT, stdin=pipe, stdout=pipe)
    alone = Bare(process, photos)
    try:
        await alone.next()
        alone.seconds.clear()
        yield alone
    finally:
        process.kill()
        await process.wait()


async def calm(servers: Servers, photos: Sequence[Path], count: int) -> dict[str, Any]:
    """Each set and the picture alone in turn, photo by photo: all meet the same machine."""
    async with (
        bench(servers, **SETTINGS) as one,
        bench(servers, **SETTINGS) as other,
        session() as http,
        bare(photos, Engine.PILLOW) as alone,
    ):
        await _start(one)
        data = str(other.folder / "data")
        await other.start("api", "embedded", DATA_DIR=data, WORKER_METRICS_PORT="0")
        took: dict[str, list[float]] = {"production": [], "embedded": []}
        clients = {name: PipelineClient(b.url, http) for name, b in _sets(one, other)}
        tickets = {name: await upload(c, photos, WARM_UP + count) for name, c in clients.items()}
        for number in range(WARM_UP + count):
            await alone.next()
            for name, client in clients.items():
                ticket, sent = tickets[name][number], dict[str, float]()
                await _complete(client, ticket, sent)
                done = await client.finished(ticket["media_id"])
                ready = datetime.fromisoformat(done["updated_at"]).timestamp()
                took[name].append(ready - sent[ticket["media_id"]])
        return {
            "bare": quantiles(alone.seconds[WARM_UP:]),
            **{name: quantiles(seconds[WARM_UP:]) for name, seconds in took.items()},
        }


async def loaded(
    servers: Servers, photos: Sequence[Path], count: int, *, per_second: float
) -> dict[str, float]:
    """Photos that arrive at random at that rate; by the time of their commits."""
    async with bench(servers, **SETTINGS) as running, session() as http:
        await _start(running)
        client = PipelineClient(running.url, http)
        tickets, sent = await upload(client, photos, count), dict[str, float]()
        chance = random.Random(1)  # noqa: S311 - arrivals, no secret
        async with asyncio.TaskGroup() as group:
            for ticket in tickets:
                group.create_task(_complete(client, ticket, sent))
                await asyncio.sleep(chance.expovariate(per_second))
        for ticket in tickets:
            await client.finished(ticket["media_id"])
        return quantiles(await _seconds(running, sent))


def quantiles(seconds: Sequence[float]) -> dict[str, float]:
    """Median, 95 and 99 of 100, in milliseconds."""
    ordered = sorted(seconds)
    ranks = {"p50": 0.50, "p95": 0.95, "p99": 0.99}
    last = len(ordered) - 1
    return {name: 1000 * ordered[round(rank * last)] for name, rank in ranks.items()}


def _sets(production: Bench, embedded: Bench) -> Sequence[tuple[str, Bench]]:
    return (("production", production), ("embedded", embedded))


async def _start(running: Bench) -> None:
    await running.start("api", "api")
    await running.start("dispatcher", "dispatcher")
    for number in range(WORKERS):
        await running.start(f"worker-{number}", "worker")


async def _complete(client: PipelineClient, ticket: Document, sent: dict[str, float]) -> None:
    sent[ticket["media_id"]] = time.time()
    await client.complete(ticket)


async def _seconds(running: Bench, sent: dict[str, float]) -> list[float]:
    rows: Any = await running.database.fetch(_COMMITTED, list(sent))
    assert len(rows) == len(sent), "every photo is READY"
    return [row["at"] - sent[row["id"]] for row in rows]
