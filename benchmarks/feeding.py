"""Work put straight into the database and the store, so that only what follows is measured.

One media is made by its own verbs and written by the product's own adapter; the others are copies
of its row under other ids. Job ids start with J, the ids of rows that only fill the table with 0.
"""

import asyncio
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime
from functools import partial
from pathlib import Path

from adapters.minio import MinioStore
from adapters.postgres.database import PostgresDatabase
from adapters.rows import COLUMNS
from benchmarks.rig import Bench
from domain.media import Media
from domain.parts import Original, Placeholder, Result, Variant
from domain.retry_policy import RetryPolicy

POLICY = RetryPolicy()
JOB, FILLER = "J", "0"
BATCH = 50_000
Make = Callable[[datetime], Media]
FINISH_SECONDS = 300.0
TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00"  # not sampled
SAMPLED = f"{TRACEPARENT[:-2]}01"

_OWN = {
    "id": "ids.id",
    "original_key": "'media/' || ids.id || '/original.jpg'",
    "etag": "($4::text[])[1 + ids.number % cardinality($4::text[])]",
}
_COLUMNS = (*COLUMNS, "failure_code", "state_since")
_COPY_MEDIA = f"""
INSERT INTO media ({", ".join(_COLUMNS)})
SELECT {", ".join(_OWN.get(name, f"media.{name}") for name in _COLUMNS)}
FROM media, LATERAL (
    SELECT n AS number, $2::text || lpad(n::text, 25, '0') AS id
    FROM generate_series($3::int, $3::int + $5::int - 1) AS n
) AS ids WHERE media.id = $1
"""  # noqa: S608 - the names of columns
_ENQUEUE = """
WITH appended AS (
    INSERT INTO outbox (media_id, token, traceparent, available_at)
    SELECT id, 0, traceparent, now() FROM media
    WHERE id BETWEEN $1 AND $2 AND state = 'UPLOADED'
) SELECT pg_notify('pipeline_outbox', '')
"""
_OVER = """
SELECT count(*) FILTER (WHERE state = 'READY') AS ready,
    count(*) FILTER (WHERE state IN ('FAILED', 'EXPIRED')) AS failed
FROM media WHERE id BETWEEN $1 AND $2
"""


def job_id(number: int, prefix: str = JOB) -> str:
    return prefix + str(number).rjust(25, "0")


async def add_jobs(
    bench: Bench,
    count: int,
    *,
    first: int = 1,
    etags: Sequence[str] = ("",),
    traceparent: str = TRACEPARENT,
) -> None:
    """`count` photos, UPLOADED and pinned to these ETags in turn; nothing is in the outbox yet."""
    make = partial(_uploaded, traceparent=traceparent)
    await _copy(bench, make, range(first, first + count), prefix=JOB, tags=etags)


async def add_filler(bench: Bench, first: int, last: int) -> None:
    """Finished photos that only make the table large."""
    await _copy(bench, _ready, range(first, last + 1), prefix=FILLER, tags=("",))
    await bench.database.execute("ANALYZE media")


async def release(bench: Bench, first: int, last: int) -> None:
    """Let dispatchers and workers have these jobs."""
    await bench.database.execute(_ENQUEUE, job_id(first), job_id(last))


async def all_ready(
    bench: Bench,
    first: int,
    last: int,
    *,
    seconds: float = FINISH_SECONDS,
    poll_seconds: float = 0.05,
) -> None:
    """Wait until these jobs are READY; one that fails ends the benchmark."""
    async with asyncio.timeout(seconds):
        while True:
            over = await bench.database.fetchrow(_OVER, job_id(first), job_id(last))
            if over["failed"]:
                raise SystemExit(f"{over['failed']} photos failed; nothing was measured")
            if over["ready"] == last - first + 1:
                return
            await asyncio.sleep(poll_seconds)


async def put_originals(store: MinioStore, photos: Sequence[Path], first: int, count: int) -> None:
    """The originals of jobs, `photos` in turn as `etags` has them, eight at once."""
    numbers = iter(range(first, first + count))

    async def some() -> None:
        for number in numbers:
            key = f"media/{job_id(number)}/original.jpg"
            photo = photos[number % len(photos)]
            await store.upload(key, photo, content_type="image/jpeg")

    await asyncio.gather(*(some() for _ in range(8)))


def etags(photos: Sequence[Path]) -> list[str]:
    """What MinIO calls these files when they come in one piece."""
    return [hashlib.md5(p.read_bytes(), usedforsecurity=False).hexdigest() for p in photos]


async def _copy(
    bench: Bench, make: Make, numbers: range, *, prefix: str, tags: Sequence[str]
) -> None:
    pattern = await _write_pattern(bench, make)
    for start in numbers[::BATCH]:
        count = min(BATCH, numbers.stop - start)
        arguments = (pattern.id, prefix, start, list(tags), count)
        await bench.database.execute(_COPY_MEDIA, *arguments, timeout=120)
    await bench.database.execute("DELETE FROM media WHERE id = $1", pattern.id)


async def _write_pattern(bench: Bench, make: Make) -> Media:
    database = await PostgresDatabase.connect(bench.database_url, pool_size=1)
    try:
        async with database.begin() as uow:
            media = make(uow.now)
            await uow.media.add(media)
            await uow.commit()
    finally:
        await database.close()
    return media


def _uploaded(now: datetime, traceparent: str = TRACEPARENT) -> Media:
    media = Media.request(
        media_id="Z" * 26,
        now=now,
        upload_seconds=900,
        content_type="image/jpeg",
        extension="jpg",
        file_name="photo.jpg",
    )
    return media.complete_upload(
        now=now, policy=POLICY, etag="pattern", size=3_000_000, traceparent=traceparent
    ).media


def _ready(now: datetime) -> Media:
    claimed = (
        _uploaded(now)
        .start_processing(now=now, policy=POLICY, worker_id="filler", lease_seconds=15.0)
        .media
    )
    names = ("large", "medium", "small", "thumb")
    variants = tuple(
        Variant(
            name=name,
            key=f"media/{'Z' * 26}/1/{name}.webp",
            content_type="image/webp",
            width=2048,
            height=1536,
            bytes=300_000,
            sha256="ab" * 32,
            recipe="0123456789ab",
        )
        for name in names
    )
    done = claimed.finish_processing(
        now=now,
        policy=POLICY,
        token=claimed.lease_token,
        result=Result(
            original=Original(sha256="cd" * 32, width=4000, height=3000, format="JPEG"),
            variants=variants,
            placeholder=Placeholder(
                thumbhash="1QcSHQRnh493V4dIh4eXh1h4kJUI", average_color="#aabbcc"
            ),
        ),
    ).media
    return replace(done, deadline_at=None)
