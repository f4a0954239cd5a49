"""An event loop with virtual time that picks the next callback by a seeded draw.

Every task belongs to a simulated process, by a context variable. A process that crashes is never
scheduled again: none of its `finally` blocks run, as after SIGKILL. Its tasks are kept until the
run is over, because collecting a coroutine would run them. A paused process is scheduled again
when its pause is over. Nothing here depends on real time, hash order or object addresses.
"""

import asyncio
import heapq
import itertools
import logging
from collections.abc import Callable, Coroutine
from contextlib import suppress
from contextvars import Context, ContextVar
from random import Random
from typing import Any


class Process:
    """A simulated process: the unit of crashing and pausing."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.alive = True
        self.paused_until = 0.0


WORLD = Process("world")
current_process: ContextVar[Process] = ContextVar("current_process", default=WORLD)


class StepLimit(Exception):
    """The run does too much: something turns in a circle."""


class SimulationLoop(asyncio.AbstractEventLoop):
    """Only what asyncio's primitives need; no I/O, no threads, no signals."""

    def __init__(self, random: Random, *, steps_max: int) -> None:
        self.random = random
        self.steps = 0
        self.on_step: Callable[[], None] = lambda: None
        self.errors: list[str] = []
        self._steps_max = steps_max
        self._now = 0.0
        self._ready: list[asyncio.Handle] = []
        self._timers: list[tuple[float, int, asyncio.Handle]] = []
        self._order = itertools.count()
        self._tasks: list[tuple[asyncio.Task[Any], Coroutine[Any, Any, Any]]] = []

    # --- what a simulation asks for ----------------------------------------------------------

    def spawn(self, process: Process, coroutine: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Start a task that belongs to `process`, as does all that it starts."""
        token = current_process.set(process)
        try:
            return self.create_task(coroutine)
        finally:
            current_process.reset(token)

    def run(self, main: Coroutine[Any, Any, Any]) -> None:
        """Run until `main` is done; raises what it raises."""
        asyncio.events._set_running_loop(self)
        try:
            task = self.create_task(main)
            while not task.done():
                self._step()
            task.result()
        finally:
            asyncio.events._set_running_loop(None)
            self._dispose()

    def _step(self) -> None:
        self.steps += 1
        if self.steps > self._steps_max:
            raise StepLimit(f"more than {self._steps_max} steps")
        if not self._ready:
            self._advance()
            return
        index = self.random.randrange(len(self._ready))
        self._ready[index], self._ready[-1] = self._ready[-1], self._ready[index]
        handle = self._ready.pop()
        process = handle._context.get(current_process, WORLD)  # type: ignore[attr-defined]
        if handle._cancelled or not process.alive:  # type: ignore[attr-defined]
            return
        if process.paused_until > self._now:
            self._at(process.paused_until, handle)
            return
        handle._run()
        self.on_step()

    def _advance(self) -> None:
        """Nothing can run now: go to the next timer."""
        assert self._timers, "every task waits for another one: the simulation is stuck"
        self._now = max(self._now, self._timers[0][0])
        while self._timers and self._timers[0][0] <= self._now:
            _, _, handle = heapq.heappop(self._timers)
            if not handle._cancelled:  # type: ignore[attr-defined]
                self._ready.append(handle)

    def _at(self, when: float, handle: asyncio.Handle) -> None:
        heapq.heappush(self._timers, (when, next(self._order), handle))

    def _dispose(self) -> None:
        """End what is left, quietly; the world it could act on is over."""
        logging.disable(logging.CRITICAL)
        for task, coroutine in self._tasks:
            task._log_destroy_pending = False  # type: ignore[attr-defined]
            if not task.done():
                with suppress(BaseException):
                    coroutine.close()
        self._tasks.clear()
        self._ready.clear()
        self._timers.clear()
        logging.disable(logging.NOTSET)

    # --- what asyncio asks for ---------------------------------------------------------------

    def time(self) -> float:
        return self._now

    def get_debug(self) -> bool:
        return False

    def is_running(self) -> bool:
        return True

    def is_closed(self) -> bool:
        return False

    def create_future(self) -> asyncio.Future[Any]:
        return asyncio.Future(loop=self)

    def create_task(  # pyright: ignore[reportIncompatibleMethodOverride] - no generators here
        self,
        coro: Coroutine[Any, Any, Any],
        *,
        name: str | None = None,
        context: Context | None = None,
    ) -> asyncio.Task[Any]:
        task = asyncio.Task(coro, loop=self, name=name or "task", context=context)
        self._tasks.append((task, coro))
        return task

    def call_soon(
        self, callback: Callable[..., Any], *args: Any, context: Context | None = None
    ) -> asyncio.Handle:
        handle = asyncio.Handle(callback, args, self, context)
        self._ready.append(handle)
        return handle

    def call_at(
        self, when: float, callback: Callable[..., Any], *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        handle = asyncio.TimerHandle(when, callback, args, self, context)
        self._at(when, handle)
        return handle

    def call_later(
        self, delay: float, callback: Callable[..., Any], *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        return self.call_at(self._now + delay, callback, *args, context=context)

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """Cancelled timers are skipped when their time comes."""

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        self.errors.append(str(context.get("exception") or context.get("message")))
