"""How long a photo takes whose worker is killed, and how long a redelivery of a finished one.

    .venv/bin/python -m tests.measure.recovery kills --lease 15 --times 10
    .venv/bin/python -m tests.measure.recovery redeliveries --times 200

It starts real servers on free ports and in temporary folders, two workers, and the processes with
their default settings but for the lease. A kill is SIGKILL of the worker that has the photo in
hand; the clock runs from there to the answer that says READY. A redelivery is a work order for a
photo that is READY; the clock runs from its confirmed publication to the worker's own count of it.
"""

import argparse
import asyncio
import os
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import pytest

from adapters.opentelemetry.instruments import PROCESSED
from application.messages import ProcessRequest, encode
from domain.lifecycle import State
from tests.e2e.asking import measured, stored
from tests.e2e.photos import draw
from tests.e2e.sending import accepted, finished
from tests.measure.time_to_ready import DEFAULTS
from tests.support.product import ProductProcess
from tests.support.services import Services
from tests.support.systems import System, running
from tests.support.waiting import eventually


async def recover(system: System, number: int) -> float:
    """Seconds from the kill to READY."""
    await system.whole()
    for worker in system.workers:
        worker.hold_decoding()
    media_id = await accepted(system, draw(number))
    claimed = await eventually(
        lambda: stored(system, media_id), until=lambda media: media.state is State.PROCESSING
    )
    holder = _who_is(system, claimed.worker_id)
    for worker in system.workers:
        if worker is not holder:
            worker.resume_forked()
    # At any moment of the lease, as a crash would: the renewals go on meanwhile.
    await asyncio.sleep(number % 7 * 0.3)
    began = time.perf_counter()
    holder.kill()
    document = await system.client().finished(media_id, timeout_seconds=120.0)
    assert document["status"] == "READY", document
    return time.perf_counter() - began


def _who_is(system: System, worker_id: str | None) -> ProductProcess:
    return next(
        worker
        for worker in system.workers
        if worker_id in [event["worker_id"] for event in worker.events("process_started")]
    )


async def redeliver(system: System, times: int) -> list[float]:
    """Seconds from the publication of each work order to its being counted as a duplicate.

    The workers' pages of metrics are asked over and over, so what is measured includes that; how
    long it takes to ask is printed beside.
    """
    media_id = (await finished(system, draw(1)))["media_id"]
    body, headers = encode(ProcessRequest(media_id, 0))
    seconds: list[float] = []
    asking: list[float] = []

    async def duplicates() -> float:
        counts = [measured(w, PROCESSED, outcome="duplicate") for w in system.workers]
        return sum(await asyncio.gather(*counts))

    async with system.inside.publisher() as publisher:
        for number in range(times):
            began = time.perf_counter()
            before = await duplicates()
            asking.append(time.perf_counter() - began)
            await publisher.publish(f"measure-{number}", body, headers)
            began = time.perf_counter()
            while await duplicates() == before:  # noqa: ASYNC110 - the page is the only witness
                await asyncio.sleep(0.001)
            seconds.append(time.perf_counter() - began)
    print(f"to ask the workers once: median {median(asking):.3f} s")
    return seconds


async def _measure(services: Services, options: argparse.Namespace) -> None:
    settings = {**DEFAULTS, "LEASE_SECONDS": str(options.lease)}
    with tempfile.TemporaryDirectory(prefix="image-pipeline-measure-") as folder:
        async with running(
            "production", services, Path(folder), workers=2, settings=settings
        ) as system:
            if options.what == "redeliveries":
                seconds = await redeliver(system, options.times)
            else:
                async with system.supervised():
                    seconds = [await recover(system, number) for number in range(options.times)]
    shown = f"median {median(seconds):.3f} s  max {max(seconds):.3f} s  min {min(seconds):.3f} s"
    lease = f", lease {options.lease:g} s" if options.what == "kills" else ""
    print(f"{len(seconds)} {options.what}{lease}: {shown}  load {os.getloadavg()[0]:.1f}")


def main() -> None:
    parser = argparse.ArgumentParser(description="Recovery after a kill, or redeliveries.")
    parser.add_argument("what", choices=["kills", "redeliveries"])
    parser.add_argument("--times", type=int, default=10)
    parser.add_argument("--lease", type=float, default=15.0, metavar="SECONDS")
    options = parser.parse_args()
    services = Services()
    try:
        asyncio.run(_measure(services, options))
    except pytest.skip.Exception as missing:
        sys.exit(str(missing))
    finally:
        services.close()


if __name__ == "__main__":
    main()
