"""How background work is kept going: again and again, with jitter, through every outage."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from adapters.events import get_logger
from application.ports import Ids
from domain.errors import PipelineError

log = get_logger(__name__)

FAILURE_FLOOR_SECONDS = 0.1
FAILURE_CAP_SECONDS = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Loop:
    """One job and its rhythm.

    `work` does a round and says whether more is waiting. Between rounds without more work the
    loop calls `rest`, or waits `period_seconds`, give or take a fifth.
    """

    name: str
    work: Callable[[], Awaitable[bool]]
    period_seconds: float
    rest: Callable[[float], Awaitable[None]] | None = None


async def run_loop(loop: Loop, ids: Ids) -> None:
    """Run until cancelled. Failures are logged and outlived."""
    failures = 0
    while True:
        try:
            more = await loop.work()
            failures = 0
        except PipelineError as error:
            log.warning("round_failed", error=error, loop=loop.name)
            more, failures = False, failures + 1
        except Exception as defect:  # noqa: BLE001 - a loop that ends is worse than any error
            log.error("round_crashed", error=defect, loop=loop.name)
            more, failures = False, failures + 1
        if failures:
            await asyncio.sleep(FAILURE_FLOOR_SECONDS + backoff_seconds(failures, ids))
        elif not more:
            await _rest(loop, ids)


async def _rest(loop: Loop, ids: Ids) -> None:
    if loop.rest is not None:
        await loop.rest(loop.period_seconds)
    else:
        await asyncio.sleep(loop.period_seconds * (0.8 + 0.4 * ids.fraction()))


def backoff_seconds(failures: int, ids: Ids) -> float:
    """Full jitter up to 0.2, 0.4, 0.8 ... seconds, capped."""
    return min(FAILURE_CAP_SECONDS, 0.1 * 2.0 ** min(failures, 10)) * ids.fraction()
