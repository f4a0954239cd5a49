"""Blocking work that must not be abandoned half-way when its task is cancelled."""

import asyncio
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


async def run_to_the_end(work: Callable[[], T]) -> T:
    """`work()` in a thread; returns or raises only after it has ended.

    A cancellation meanwhile is raised afterwards, in place of the result: a thread cannot be
    stopped, and cleaning up beside one that still works would be a race.
    """
    return await to_the_end(asyncio.get_running_loop().run_in_executor(None, work))


async def to_the_end(future: asyncio.Future[T]) -> T:
    """Wait for `future` whatever happens; a cancellation is raised once it is done."""
    cancelled: asyncio.CancelledError | None = None
    while not future.done():
        try:
            await asyncio.wait([future])
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        future.exception()  # Looked at, so that asyncio does not complain about it.
        raise cancelled
    return future.result()
