"""The same error, repeated, is counted and not repeated.

The first one is shown at once. Further ones are withheld and counted; every `every_seconds` of
an error that goes on, one line is shown with `repeated`, the number it stands for. When an error
has ended, the count that was withheld is shown as one last line, at the next occasion: any other
line that is logged, or the end of the process.

An error is the same if logger, level, event, type of the exception and the fields that name a
thing (SAME) are the same. Lines below WARNING always pass. Time is the records' own.
"""

import copy
import logging
from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass

from adapters.events import FIELDS

SAME = ("media_id", "dependency", "code", "loop", "queue")
KEPT_MAX = 256  # different errors remembered at a time
REPEATED = "repeated"  # the attribute of a LogRecord that carries the count


@dataclass(slots=True)
class _Run:
    """One error that goes on: when it was last shown, and the latest line withheld since."""

    shown_at: float
    withheld: int = 0
    latest: logging.LogRecord | None = None


class Repeats:
    """Decides which lines are shown; not a `logging.Filter` because one line may become more."""

    def __init__(self, every_seconds: float = 30.0) -> None:
        self._every_seconds = every_seconds
        self._runs: OrderedDict[Hashable, _Run] = OrderedDict()

    def admit(self, record: logging.LogRecord) -> list[logging.LogRecord]:
        """The lines to show now that `record` has come: ended errors first, then itself."""
        lines = self._ended(record.created)
        if record.levelno < logging.WARNING:
            return [*lines, record]
        key = _key(record)
        run = self._runs.get(key)
        if run is None:
            self._runs[key] = _Run(record.created)
            return [*lines, *self._overflow(), record]
        run.withheld += 1
        run.latest = record
        if record.created - run.shown_at >= self._every_seconds:
            lines += _summary(run)
        return lines

    def drain(self) -> list[logging.LogRecord]:
        """Every count still withheld; for the end of the process."""
        lines = [line for run in self._runs.values() for line in _summary(run)]
        self._runs.clear()
        return lines

    def _ended(self, now: float) -> list[logging.LogRecord]:
        """Errors whose latest line is older than the interval are over and forgotten."""
        over = [
            key
            for key, run in self._runs.items()
            if now - (run.latest.created if run.latest else run.shown_at) >= self._every_seconds
        ]
        return [line for key in over for line in _summary(self._runs.pop(key))]

    def _overflow(self) -> list[logging.LogRecord]:
        if len(self._runs) <= KEPT_MAX:
            return []
        _, oldest = self._runs.popitem(last=False)
        return _summary(oldest)


def _summary(run: _Run) -> list[logging.LogRecord]:
    """The latest withheld line with its count; none if nothing was withheld."""
    if run.latest is None:
        return []
    line = copy.copy(run.latest)
    setattr(line, REPEATED, run.withheld)
    run.shown_at, run.withheld, run.latest = line.created, 0, None
    return [line]


def _key(record: logging.LogRecord) -> Hashable:
    fields = getattr(record, FIELDS, {})
    error = record.exc_info[0] if record.exc_info else None
    things = tuple(str(fields[name]) if name in fields else "" for name in SAME)
    return record.name, record.levelno, record.msg, error, things
