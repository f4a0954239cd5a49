"""What the pages of each process say while something happens to it, and how soon they say it."""

import asyncio
import re
from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from statistics import median

from adapters.opentelemetry.instruments import DEPENDENCY_UP
from tests.support.product import ProductProcess
from tests.support.systems import System

PROBES = ("/health/live", "/health/ready")
PAUSE_SECONDS = 0.1
_DOWN = re.compile(rf'^{DEPENDENCY_UP.prometheus_name}{{dependency="(\w+)"}} 0\.0$', re.MULTILINE)


@dataclass
class Testimony:
    """Of one process. `noticed` is after how many seconds its metrics called a server down."""

    noticed: dict[str, float] = field(default_factory=dict[str, float])
    seconds: dict[str, list[float]] = field(default_factory=lambda: {path: [] for path in PROBES})
    statuses: Counter[tuple[str, int]] = field(default_factory=Counter[tuple[str, int]])

    @property
    def probe_seconds(self) -> float:
        """The median of the slower probe: a process that waits for a server waits every time."""
        return max(median(seconds) for seconds in self.seconds.values())


@asynccontextmanager
async def looking_out(system: System) -> AsyncGenerator[dict[str, Testimony]]:
    """Ask every process for its pages, over and over, while this is open; the answers by name."""
    said = {name: Testimony() for name in system.processes}
    asking = [
        asyncio.create_task(_ask_for_ever(system, process, said[name]))
        for name, process in system.processes.items()
    ]
    try:
        yield said
    finally:
        for task in asking:
            task.cancel()
        outcomes = await asyncio.gather(*asking, return_exceptions=True)
    failures = [one for one in outcomes if isinstance(one, Exception)]
    assert failures == [], "a page was not answered"


async def _ask_for_ever(system: System, process: ProductProcess, said: Testimony) -> None:
    clock = asyncio.get_running_loop().time
    start = clock()
    while True:
        for path in PROBES:
            began = clock()
            status, _ = await _get(system, process, path)
            said.seconds[path].append(clock() - began)
            said.statuses[path, status] += 1
        _, page = await _get(system, process, "/metrics")
        for dependency in _DOWN.findall(page):
            said.noticed.setdefault(dependency, clock() - start)
        await asyncio.sleep(PAUSE_SECONDS)


async def _get(system: System, process: ProductProcess, path: str) -> tuple[int, str]:
    async with system.session.get(f"http://127.0.0.1:{process.port}{path}") as answer:
        return answer.status, await answer.text()
