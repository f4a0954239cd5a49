"""Whether something was left open: tasks, files, pipes and connections of this process."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

from tests.support.waiting import eventually

CLOSING_SECONDS = 5.0
_DESCRIPTORS = Path("/proc/self/fd")


@asynccontextmanager
async def no_leaks() -> AsyncGenerator[None]:
    """What is begun or opened inside must be over soon after the end; one says what is not."""
    before_tasks, before_descriptors = _tasks(), open_descriptors()

    async def left() -> list[str]:
        tasks = _tasks() - before_tasks
        descriptors = open_descriptors() - before_descriptors
        return sorted({*map(repr, tasks), *descriptors})

    yield
    await eventually(left, until=lambda found: not found, seconds=CLOSING_SECONDS)


def open_descriptors() -> set[str]:
    """What each descriptor stands for, such as `socket:[123]`; empty where there is no /proc."""
    found: set[str] = set()
    if _DESCRIPTORS.exists():
        for link in _DESCRIPTORS.iterdir():
            with suppress(OSError):  # The descriptor with which we read this very folder.
                found.add(str(link.readlink()))
    return {target for target in found if not target.startswith("/proc/")}


def _tasks() -> set[asyncio.Task[Any]]:
    """Every task but those in which pytest's plugin runs fixtures and tests."""
    return {task for task in asyncio.all_tasks() if "TestRunner" not in repr(task.get_coro())}
