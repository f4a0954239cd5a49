"""Processor time and memory of process trees, from /proc.

The kernel counts user and system time for each process and, once a child has been waited for,
adds the child's to its parent. So the sum over a living tree misses nothing that ended in between.
"""

import os
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path

from tests.support.process import descendants

TICKS = os.sysconf("SC_CLK_TCK")
KIBIBYTE = 1024


def tree(root: int) -> list[int]:
    return [root, *descendants(root)]


def seconds(roots: Iterable[int]) -> float:
    """User and system seconds of these processes and all below them, the ended ones included."""
    return sum(_own(pid) for root in roots for pid in tree(root))


def _own(pid: int) -> float:
    with suppress(OSError):
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return sum(map(int, fields[11:15])) / TICKS
    return 0.0


def machine_busy() -> float:
    """Seconds for which the processors of this machine have worked for anybody, since boot."""
    fields = [int(text) for text in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
    return (sum(fields) - fields[3] - fields[4]) / TICKS


def peak_rss(pid: int) -> int:
    """The most bytes this process has had in memory at once; 0 if it is gone."""
    return _status(pid, "VmHWM")


def resident(pid: int) -> int:
    """Bytes of this process in memory, what it shares with others counted in part."""
    with suppress(OSError, StopIteration):
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        return next(int(x.split()[1]) * KIBIBYTE for x in lines if x.startswith("Pss:"))
    return 0


def _status(pid: int, name: str) -> int:
    with suppress(OSError, StopIteration):
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
        return next(int(x.split()[1]) * KIBIBYTE for x in lines if x.startswith(name))
    return 0


class Meter:
    """Processor seconds of named groups of process trees, between `start` and `stop`."""

    def __init__(self, groups: Mapping[str, Iterable[int]]) -> None:
        self._groups = {name: tuple(roots) for name, roots in groups.items()}
        self._before: dict[str, float] = {}
        self._busy = 0.0
        self.others = 0.0  # what everybody else on the machine used meanwhile

    def start(self) -> None:
        self._before = self._read()
        self._busy = machine_busy()

    def stop(self) -> dict[str, float]:
        used = {name: now - self._before[name] for name, now in self._read().items()}
        self.others = machine_busy() - self._busy - sum(used.values())
        return used

    def _read(self) -> dict[str, float]:
        return {name: seconds(roots) for name, roots in self._groups.items()}
