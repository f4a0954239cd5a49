"""The pipeline as a row of another harness that drives peers by READY, GO and DONE.

That harness gives servers and work in variables (S3_ENDPOINT, AMQP_URL, PG_DSN, PEER_*), counts the
processes below this one, and reads the table `done` and the variants. This process is only the
client: it sends photos by the public calls, or, with PEER_BODY=noop, puts jobs into the database.
A trigger writes the row of `done` in the very commit that makes a photo READY.
"""

import asyncio
import json
import os
import sys
import tempfile
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import aiohttp
import asyncpg  # pyright: ignore[reportMissingTypeStubs] - partly annotated

from adapters.minio import MinioStore
from adapters.system import utc_now
from benchmarks import feeding
from benchmarks.overhead import COPY_WORKER
from benchmarks.process import ROOT, Process, product
from benchmarks.throughput import EDGES, recipe, session
from entrypoints.client import PipelineClient
from tests.support.process import free_port

E = os.environ
RUN = E.get("PEER_RUN", "manual")
FORM = E.get("PEER_FORMAT", "jpeg")
NOOP = E.get("PEER_BODY") == "noop"
EXTENSION = {"jpeg": "jpg", "webp": "webp"}[FORM]
BUCKET = "pipeline"
IN_FLIGHT = 8
SECONDS_MAX = 500.0
_TRIGGER = """
CREATE OR REPLACE FUNCTION tell_done() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    INSERT INTO done (run, job, enq) VALUES (split_part(NEW.file_name, '|', 1),
        split_part(NEW.file_name, '|', 2), split_part(NEW.file_name, '|', 3)::float8)
    ON CONFLICT DO NOTHING;
    RETURN NULL;
END $$;
CREATE OR REPLACE TRIGGER tell_done AFTER UPDATE ON media FOR EACH ROW
    WHEN (NEW.state = 'READY' AND OLD.state = 'PROCESSING') EXECUTE FUNCTION tell_done();
TRUNCATE media, outbox;
"""
_DONE = "SELECT count(*) FROM done WHERE run = $1 AND job = ANY($2)"
_LABEL = "UPDATE media SET file_name = $2 WHERE id = $1"


@dataclass(frozen=True, kw_only=True)
class Peer:
    """The running product and the ways to it."""

    client: PipelineClient
    http: aiohttp.ClientSession
    originals: MinioStore
    variants: MinioStore
    database: Any

    async def run(self, jobs: Sequence[dict[str, Any]]) -> None:
        """Do these jobs, each not before its time; return when all are READY."""
        await (self._feed(jobs) if NOOP else self._send(jobs))
        names = [job["job"] for job in jobs]
        async with asyncio.timeout(SECONDS_MAX):
            while await self.database.fetchval(_DONE, RUN, names) < len(jobs):  # noqa: ASYNC110
                await asyncio.sleep(0.05)

    async def _feed(self, jobs: Sequence[dict[str, Any]]) -> None:
        """UPLOADED rows; the dispatcher and the workers do the rest."""
        bench = cast("Any", SimpleNamespace(database=self.database, database_url=E["PG_DSN"]))
        first = 1 + await self.database.fetchval("SELECT count(*) FROM media")
        await feeding.add_jobs(bench, len(jobs), first=first)
        began = asyncio.get_running_loop().time()
        if any("at" in job for job in jobs):
            for number, job in enumerate(jobs, first):
                wait = began + job.get("at", 0.0) - asyncio.get_running_loop().time()
                await asyncio.sleep(max(0.0, wait))
                await self._label([(number, job)])
                await feeding.release(bench, number, number)
            return
        await self._label(list(enumerate(jobs, first)))
        await feeding.release(bench, first, first + len(jobs) - 1)

    async def _label(self, jobs: Sequence[tuple[int, dict[str, Any]]]) -> None:
        labels = [(feeding.job_id(number), _label(job["job"])) for number, job in jobs]
        await self.database.executemany(_LABEL, labels)

    async def _send(self, jobs: Sequence[dict[str, Any]]) -> None:
        waiting, media = iter(jobs), dict[str, str]()

        async def some() -> None:
            for job in waiting:
                media[job["job"]] = await self._send_one(job)

        await asyncio.gather(*(some() for _ in range(IN_FLIGHT)))
        for job in jobs:
            if job.get("keep"):
                await self._keep(job["job"], media[job["job"]])

    async def _send_one(self, job: dict[str, Any]) -> str:
        found = await self.originals.head(job["key"])
        assert found is not None, f"{job['key']} is not there"
        with tempfile.TemporaryDirectory() as folder:
            photo = Path(folder) / "photo"
            size = 1 << 30
            await self.originals.download(job["key"], etag=found.etag, to=photo, max_bytes=size)
            ticket = await self.client.request_upload(
                content_type="image/jpeg", file_name=_label(job["job"])
            )
            await self.client.put(ticket, photo)
        await self.client.complete(ticket)
        return ticket["media_id"]

    async def _keep(self, job: str, media_id: str) -> None:
        """Its variants where the other harness looks for them, once it is READY."""
        folder = Path(E["PEER_OUT"]) / job
        folder.mkdir(parents=True, exist_ok=True)
        document = await self.client.finished(media_id, timeout_seconds=SECONDS_MAX)
        for variant in document["variants"]:
            async with self.http.get(variant["url"]) as answer:
                body = await answer.read()
            (folder / f"{EDGES[variant['name']]}.{EXTENSION}").write_bytes(body)


def _label(job: str) -> str:
    return f"{RUN}|{job}|{utc_now().timestamp()}"


@asynccontextmanager
async def _running(folder: Path) -> AsyncGenerator[Peer]:
    environment = _environment(folder)
    migrating = await asyncio.create_subprocess_exec(*product("migrate"), cwd=ROOT, env=environment)
    assert await migrating.wait() == 0, "migrate failed"
    database: Any = await cast("Any", asyncpg).connect(E["PG_DSN"])
    await database.execute(_TRIGGER)
    worker = [*COPY_WORKER, "--no-store"] if NOOP else product("worker")
    commands = [product("api"), product("dispatcher")]
    commands += [worker for _ in range(int(E.get("PEER_WORKERS", "2")))]
    processes: list[Process] = []
    originals, variants = _store(E["S3_BUCKET_IN"]), _store(BUCKET)
    await originals.open()
    await variants.open()
    http = session()
    try:
        for number, command in enumerate(commands):
            port = free_port()
            names = ("API_PORT", "WORKER_METRICS_PORT", "DISPATCHER_METRICS_PORT")
            given = {**environment, **dict.fromkeys(names, str(port))}
            processes.append(Process(command, given, folder / f"{number}.log", port=port))
            await processes[-1].ready()
        client = PipelineClient(f"http://127.0.0.1:{processes[0].port}", http)
        yield Peer(
            client=client, http=http, originals=originals, variants=variants, database=database
        )
    finally:
        for process in processes:
            process.close()
        await http.close()
        await originals.close()
        await variants.close()
        await database.close()


def _environment(folder: Path) -> dict[str, str]:
    return {
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        "HOME": str(folder),
        "API_HOST": "127.0.0.1",
        "LOG_FORMAT": "json",
        "WORKER_CONCURRENCY": "1",
        "SCRATCH_DIR": str(folder / "scratch"),
        "IMAGE_ENGINE": E.get("PEER_IMG", "pillow"),
        "RECIPE": recipe(FORM),
        "DATABASE_URL": E["PG_DSN"],
        "RABBITMQ_URL": E["AMQP_URL"],
        "MINIO_ENDPOINT": E["S3_ENDPOINT"],
        "MINIO_ACCESS_KEY": E["S3_ACCESS_KEY"],
        "MINIO_SECRET_KEY": E["S3_SECRET_KEY"],
        "MINIO_BUCKET": BUCKET,
    }


def _store(bucket: str) -> MinioStore:
    endpoint, keys = E["S3_ENDPOINT"], (E["S3_ACCESS_KEY"], E["S3_SECRET_KEY"])
    return MinioStore(endpoint, endpoint, *keys, bucket, clock=utc_now)


async def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        async with _running(Path(folder)) as peer:
            print("READY", flush=True)  # noqa: T201 - the contract
            while line := await asyncio.to_thread(sys.stdin.readline):
                _, _, file = line.strip().partition(" ")
                jobs = [json.loads(text) for text in Path(file).read_text().splitlines()]  # noqa: ASYNC240
                await peer.run(jobs)
                print("DONE", flush=True)  # noqa: T201 - the contract


if __name__ == "__main__":
    asyncio.run(main())
