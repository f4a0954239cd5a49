"""Which metric tells of each fault, and after how many seconds an operator can see it.

    .venv/bin/python -m tests.measure.fault_to_metric                  # all, once
    .venv/bin/python -m tests.measure.fault_to_metric --rounds 3 --only broker,database

It starts the servers, an API, a dispatcher and two workers with their default settings, and a
Prometheus that scrapes them as often as deploy/prometheus/prometheus.yml says. Then it makes one
fault after the other and asks that Prometheus until every sign of it has been seen. Seconds run
from the fault to the answer: scrape interval, and time limit of a scrape, included. Of several
rounds the slowest is shown. Exit code 1 if a fault was not seen within LIMIT_SECONDS.
"""

import argparse
import asyncio
import re
import sys
import tempfile
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest

from tests.measure.faults import FAULTS, Fault, Sign, Stage, healed
from tests.measure.time_to_ready import DEFAULTS
from tests.support.outages import Links
from tests.support.prometheus import Prometheus, targets_of
from tests.support.servers import Toxiproxy
from tests.support.services import Services
from tests.support.systems import running
from tests.support.toxiproxy import link_to

LIMIT_SECONDS = 15.0
PATIENCE_SECONDS = 30.0
POLL_SECONDS = 0.1
SHIPPED = Path(__file__).parents[2] / "deploy" / "prometheus" / "prometheus.yml"
Seen = dict[str, float | None]  # seconds by title of the sign; None for one that did not come


def scrape_seconds() -> int:
    found = re.search(r"scrape_interval: (\d+)s", SHIPPED.read_text())
    assert found is not None, SHIPPED
    return int(found[1])


@asynccontextmanager
async def staged(services: Services, folder: Path) -> AsyncGenerator[tuple[Stage, Prometheus]]:
    """Everything runs and is scraped."""
    urls = services.postgres_url(), services.rabbitmq_url(), services.minio().endpoint
    links = Links(*(link_to(services.get(Toxiproxy), url) for url in urls))
    settings = {**DEFAULTS, "WORKER_CONCURRENCY": "1"}
    async with AsyncExitStack() as stack:
        system = await stack.enter_async_context(
            running(
                "production", services, folder, workers=2, settings=settings, through=links.lead
            )
        )
        prometheus = Prometheus(targets_of(system), every_seconds=scrape_seconds())
        stack.callback(prometheus.close)
        await asyncio.to_thread(prometheus.start)
        yield Stage(system=system, links=links, rabbitmq_url=urls[1]), prometheus


async def watch(stage: Stage, prometheus: Prometheus, fault: Fault) -> Seen:
    """Make the fault on a healthy pipeline and wait for its signs, each for some time."""
    await healed(stage)
    await scraped_anew(prometheus, len(stage.system.processes))
    values = {sign.title: await read(prometheus, sign) for sign in fault.signs}
    seen: Seen = dict.fromkeys(values)
    async with fault.make(stage):
        began = time.monotonic()
        while None in seen.values() and time.monotonic() < began + PATIENCE_SECONDS:
            for sign in fault.signs:
                before, now = values[sign.title], await read(prometheus, sign)
                moved = any(sign.moved(before.get(one, 0.0), value) for one, value in now.items())
                if moved and seen[sign.title] is None:
                    seen[sign.title] = time.monotonic() - began
                values[sign.title] = now
            await asyncio.sleep(POLL_SECONDS)
    return seen


async def scraped_anew(prometheus: Prometheus, processes: int) -> None:
    """Wait until each of them has been scraped with success, and a second time, from now on."""
    for _ in range(2):
        now, times = time.time(), list[float]()
        while len(times) < processes:
            up = await asyncio.to_thread(prometheus.query, "timestamp(up == 1)")
            times = [t for series in up if (t := float(series["value"][1])) > now]
            await asyncio.sleep(POLL_SECONDS)


async def read(prometheus: Prometheus, sign: Sign) -> dict[str, float]:
    """The values now, by labels. A series that appears with its first event was 0 before it."""
    found = await asyncio.to_thread(prometheus.query, sign.series)
    return {str(series["metric"]): float(series["value"][1]) for series in found}


def slowest(rounds: Sequence[Seen]) -> Seen:
    """Of each sign, the longest time; None if it was ever missing."""
    merged: Seen = {}
    for title in rounds[0]:
        times = [seen[title] for seen in rounds]
        merged[title] = None if None in times else max(time for time in times if time is not None)
    return merged


def first_seconds(seen: Seen) -> float:
    return min((seconds for seconds in seen.values() if seconds is not None), default=float("inf"))


def row(name: str, seen: Seen) -> str:
    """A line of the table: the sign that came first, then the others with their seconds."""
    order = sorted(seen, key=lambda title: seen[title] or float("inf"))
    shown = [(title, seen[title]) for title in order]
    (first, seconds), others = shown[0], shown[1:]
    when = "not seen" if seconds is None else f"{seconds:.1f}"
    then = "; ".join(f"{t}: {'not seen' if s is None else f'{s:.1f}'}" for t, s in others)
    return f"| {name} | {first} | {when} | {then} |"


async def measure(options: argparse.Namespace, services: Services) -> bool:
    """Whether every fault was seen in time."""
    chosen = [f for f in FAULTS if any(word in f.name for word in options.only.split(","))]
    print("| fault | seen first by | s | then by, s |\n|---|---|---|---|", flush=True)
    in_time = True
    with tempfile.TemporaryDirectory(prefix="image-pipeline-measure-") as folder:
        async with staged(services, Path(folder)) as (stage, prometheus):
            for fault in chosen:
                rounds = [await watch(stage, prometheus, fault) for _ in range(options.rounds)]
                in_time &= all(first_seconds(seen) <= LIMIT_SECONDS for seen in rounds)
                print(row(fault.name, slowest(rounds)), flush=True)
            await healed(stage)
    return in_time


def main() -> None:
    parser = argparse.ArgumentParser(description="Seconds from each fault to its metrics.")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--only", default="", help="parts of names of faults, with commas")
    services = Services()
    try:
        in_time = asyncio.run(measure(parser.parse_args(), services))
    except pytest.skip.Exception as missing:
        sys.exit(str(missing))
    finally:
        services.close()
    sys.exit(0 if in_time else 1)


if __name__ == "__main__":
    main()
