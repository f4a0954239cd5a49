"""Celery + RabbitMQ + boto3 + psycopg on the same photos, servers, sizes and qualities."""

import asyncio
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from time import perf_counter
from typing import Any

from benchmarks import feeding
from benchmarks.cpu import Meter, peak_rss, tree
from benchmarks.process import ROOT, Process
from benchmarks.rig import BUCKET, Servers, bench
from tests.support.servers import ACCESS_KEY, SECRET_KEY

FOLDER = ROOT / "benchmarks" / "peers"
VENV = ROOT / "benchmarks" / ".venv"
WORKERS = 2
WARM_UP = 4
SECONDS_MAX = 300.0
_DONE = "SELECT count(*) FROM done WHERE job = ANY($1)"


async def _install() -> None:
    """The peers' environment, from their own lock file; once."""
    ready, lock = VENV / ".ready", ROOT / "benchmarks" / "requirements.txt"
    if ready.exists() and ready.stat().st_mtime > lock.stat().st_mtime:
        return
    pip = [str(VENV / "bin" / "python"), "-m", "pip", "install", "--quiet", "--require-hashes"]
    for command in ([sys.executable, "-m", "venv", str(VENV)], [*pip, "-r", str(lock)]):
        process = await asyncio.create_subprocess_exec(*command)
        if await process.wait() != 0:
            raise SystemExit("the peers' environment could not be installed")
    ready.touch()


async def measure(
    servers: Servers, photos: Sequence[Path], jobs: int, *, engine: str, extension: str
) -> dict[str, Any]:
    """Photos/s and CPU seconds a photo over Celery's workers; what sends the tasks is not counted.

    With the engine `none` a task only writes its row.
    """
    await _install()
    async with bench(servers) as running:
        await running.database.execute(
            "CREATE TABLE done (job text PRIMARY KEY, sent_at double precision)"
        )
        total = WARM_UP + jobs
        if engine != "none":
            store = servers.store()
            await store.open()
            await feeding.put_originals(store, photos, 1, total)
            await store.close()
        environment = _environment(running.database_url, servers, engine, extension)
        celery = ["-A", "tasks", "worker", "-c", str(WORKERS), "-l", "WARNING", "-P", "prefork"]
        python = str(VENV / "bin" / "python")
        worker = Process(
            [python, "-m", "celery", *celery, "--without-gossip", "--without-mingle"],
            environment,
            running.folder / "celery.log",
            folder=FOLDER,
        )
        try:
            meter = Meter({"celery": [worker.pid], **servers.pids()})
            await _run(running.database, environment, range(1, WARM_UP + 1), meter)
            seconds = await _run(
                running.database, environment, range(WARM_UP + 1, total + 1), meter
            )
            used = meter.stop()
            rss = max(map(peak_rss, tree(worker.pid)))
        finally:
            worker.close()
    return {
        "jobs": jobs,
        "photos_per_second": jobs / seconds,
        "cpu_seconds": used["celery"] / jobs,
        "servers_cpu_seconds": sum(used[name] for name in servers.pids()) / jobs,
        "rss_bytes": rss,
        "others": meter.others / seconds,
    }


def _environment(url: str, servers: Servers, engine: str, extension: str) -> dict[str, str]:
    return {
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        "C_FORCE_ROOT": "1",
        "VIPS_CONCURRENCY": "1",
        "PEER_RABBITMQ_URL": servers.rabbitmq.url,
        "PEER_DATABASE_URL": url,
        "PEER_MINIO_ENDPOINT": servers.minio.endpoint,
        "PEER_ACCESS_KEY": ACCESS_KEY,
        "PEER_SECRET_KEY": SECRET_KEY,
        "PEER_BUCKET": BUCKET,
        "PEER_QUEUE": f"peer-{engine}-{extension}-{os.getpid()}",
        "PEER_ENGINE": engine,
        "PEER_EXTENSION": extension,
    }


async def _run(database: Any, environment: dict[str, str], numbers: range, meter: Meter) -> float:
    """Start the meter, send these jobs, wait for their rows; how many seconds that took.

    The sender is started before, and what it uses is not counted.
    """
    sender = await asyncio.create_subprocess_exec(
        str(VENV / "bin" / "python"),
        "tasks.py",
        cwd=FOLDER,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert sender.stdout is not None
    await sender.stdout.readline()
    meter.start()
    began = perf_counter()
    await sender.communicate("\n".join(map(feeding.job_id, numbers)).encode())
    wanted = [feeding.job_id(number) for number in numbers]
    async with asyncio.timeout(SECONDS_MAX):
        while await database.fetchval(_DONE, wanted) < len(numbers):  # noqa: ASYNC110 - in the database
            await asyncio.sleep(0.05)
    return perf_counter() - began
