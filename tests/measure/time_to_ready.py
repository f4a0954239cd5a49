"""How long a photo takes from complete-upload to READY, as its client sees it.

    .venv/bin/python -m tests.measure.time_to_ready embedded production
    .venv/bin/python -m tests.measure.time_to_ready embedded --at-once 16 WORKER_CONCURRENCY=1

It starts real servers on free ports and in temporary folders, and the processes with their default
settings but for those given as NAME=value. The clock runs from the sending of POST
/complete-upload to the answer of the GET that says READY; a client asks every 10 ms.
"""

import argparse
import asyncio
import os
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import quantiles
from typing import cast

from entrypoints.client import Document
from entrypoints.demo import draw_photo
from tests.support.services import Services, services_of_a_program
from tests.support.systems import QUICK, SYSTEM_NAMES, System, SystemName, running

POLL_SECONDS = 0.01
WARM_UP = 3
# Tests make everything quick; here each process has the values that a user's would have.
DEFAULTS = dict.fromkeys(QUICK, "") | {"API_HOST": "127.0.0.1", "LOG_FORMAT": "json"}


async def measure(
    system: System, photo: bytes, *, photos: int, at_once: int
) -> tuple[list[float], float]:
    """Seconds of each photo, and of all of them together; `at_once` are under way at a time."""
    clients = asyncio.Semaphore(at_once)
    tickets = [await _uploaded(system, photo) for _ in range(photos)]

    async def timed(ticket: Document) -> float:
        async with clients:
            return await _seconds_to_ready(system, ticket)

    began = time.perf_counter()
    seconds = await asyncio.gather(*map(timed, tickets))
    return seconds, time.perf_counter() - began


async def _uploaded(system: System, photo: bytes) -> Document:
    client = system.client()
    ticket = await client.request_upload(content_type="image/jpeg", file_name="photo.jpg")
    await client.put(ticket, photo)
    return ticket


async def _seconds_to_ready(system: System, ticket: Document) -> float:
    client = system.client()
    began = time.perf_counter()
    document = await client.complete(ticket)
    while document["status"] != "READY":
        assert document["status"] != "FAILED", document["failure"]
        await asyncio.sleep(POLL_SECONDS)
        document = await client.media(ticket["media_id"])
    return time.perf_counter() - began


def report(name: str, seconds: Sequence[float], total_seconds: float) -> str:
    cuts = quantiles(seconds, n=20, method="inclusive")
    figures = {"min": min(seconds), "p50": cuts[9], "p95": cuts[18], "max": max(seconds)}
    shown = "  ".join(f"{key} {1000 * value:.0f} ms" for key, value in figures.items())
    rate = len(seconds) / total_seconds
    return f"{name:<11} {len(seconds)} photos  {shown}  {rate:.1f} photos/s"


async def _measure_set(
    name: SystemName, services: Services, options: argparse.Namespace, settings: Mapping[str, str]
) -> None:
    photo = options.photo.read_bytes() if options.photo else draw_photo()
    with tempfile.TemporaryDirectory(prefix="image-pipeline-measure-") as folder:
        async with running(name, services, Path(folder), settings=settings) as system:
            await measure(system, photo, photos=WARM_UP, at_once=1)
            result = await measure(system, photo, photos=options.photos, at_once=options.at_once)
    print(report(name, *result), f" load {os.getloadavg()[0]:.1f}", flush=True)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Time from complete-upload to READY.")
    parser.add_argument(
        "words", nargs="*", metavar="SET or NAME=value", help=f"{' or '.join(SYSTEM_NAMES)}"
    )
    parser.add_argument("--photos", type=int, default=40)
    parser.add_argument("--at-once", type=int, default=1, help="photos under way at a time")
    parser.add_argument("--photo", type=Path, help="a JPEG; otherwise one of 2 MP is drawn")
    options = parser.parse_intermixed_args()
    options.sets = [word for word in options.words if "=" not in word] or list(SYSTEM_NAMES)
    if unknown := set(options.sets) - set(SYSTEM_NAMES):
        parser.error(f"no such set: {', '.join(sorted(unknown))}")
    return options


def main() -> None:
    options = _options()
    given = [word.partition("=") for word in options.words if "=" in word]
    settings = {**DEFAULTS, **{name: value for name, _, value in given}}
    with services_of_a_program() as services:
        for name in options.sets:
            asyncio.run(_measure_set(cast("SystemName", name), services, options, settings))


if __name__ == "__main__":
    main()
