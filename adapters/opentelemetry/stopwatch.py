"""Durations. The event loop's own time will not do: uvloop's stands still between two turns."""

import time


class Stopwatch:
    """Runs from its creation."""

    def __init__(self) -> None:
        self._started = time.perf_counter()

    @property
    def seconds(self) -> float:
        return time.perf_counter() - self._started
