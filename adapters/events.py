"""Log lines as events: a name and key-value pairs. The one way in which this product logs.

    log = get_logger(__name__)
    log.info("lease_renewed", seconds_left=10)
    log.warning("broker_unavailable", error=error)

A thin wrapper over the standard library: records travel through `logging` as any library's do,
so handlers, levels and `caplog` work. Without `configure_logging` (adapters/logs) the line is the
name alone. What is said with `bind` is added to every line of the current task and its children.
"""

import logging
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

FIELDS = "event_fields"  # the attribute of a LogRecord that carries the key-value pairs

_bound: ContextVar[Mapping[str, Any]] = ContextVar("bound_fields")


class EventLogger:
    """Logs events under one logger name. `error` is an exception: its type and text are shown."""

    def __init__(self, name: str) -> None:
        self._logger = logging.getLogger(name)

    def debug(self, event: str, /, **fields: Any) -> None:
        self._log(logging.DEBUG, event, None, fields)

    def info(self, event: str, /, **fields: Any) -> None:
        self._log(logging.INFO, event, None, fields)

    def warning(self, event: str, /, *, error: BaseException | None = None, **fields: Any) -> None:
        self._log(logging.WARNING, event, error, fields)

    def error(self, event: str, /, *, error: BaseException | None = None, **fields: Any) -> None:
        self._log(logging.ERROR, event, error, fields)

    def _log(
        self, level: int, event: str, error: BaseException | None, fields: Mapping[str, Any]
    ) -> None:
        if self._logger.isEnabledFor(level):
            extra = {FIELDS: {**bound_fields(), **fields}}
            self._logger.log(level, event, exc_info=error, extra=extra, stacklevel=3)


def get_logger(name: str) -> EventLogger:
    return EventLogger(name)


def bound_fields() -> Mapping[str, Any]:
    """What `bind` has said in this context."""
    return _bound.get({})


@contextmanager
def bind(**fields: Any) -> Generator[None]:
    """Add these fields to every line logged inside, by libraries too. None removes a field."""
    merged = {**bound_fields(), **fields}
    token = _bound.set({name: value for name, value in merged.items() if value is not None})
    try:
        yield
    finally:
        _bound.reset(token)
