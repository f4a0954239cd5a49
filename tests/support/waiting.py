"""Waiting for a condition instead of for time to pass."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")

WAIT_SECONDS = 10.0
POLL_SECONDS = 0.01


async def eventually(
    ask: Callable[[], Awaitable[T]],
    *,
    until: Callable[[T], object] = bool,
    seconds: float = WAIT_SECONDS,
) -> T:
    """The first answer of `ask` for which `until` holds; asks again and again for `seconds`."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + seconds
    while not until(answer := await ask()):
        if loop.time() > deadline:
            raise AssertionError(f"after {seconds} s the answer still was {answer!r}")
        await asyncio.sleep(POLL_SECONDS)
    return answer
