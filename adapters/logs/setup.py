"""The one call that sets logging up for a process."""

import atexit
import logging
import sys
from collections.abc import Callable, Iterable
from typing import TextIO

from adapters.logs.formats import ColourFormatter, Fields, JsonFormatter
from adapters.logs.redaction import Redactor
from adapters.logs.repeats import Repeats

# Libraries that tell every step at INFO, or every failed try of a loop that reports for itself.
_QUIET = {
    "aiobotocore": logging.WARNING,
    "botocore": logging.WARNING,
    "asyncio": logging.WARNING,
    "urllib3": logging.ERROR,
    "uvicorn.access": logging.WARNING,
    "uvicorn.error": logging.WARNING,
    "httpx": logging.WARNING,
}


class LineHandler(logging.StreamHandler[TextIO]):
    """Writes one line a record; repeated errors are counted (see `Repeats`)."""

    def __init__(self, stream: TextIO, repeats: Repeats) -> None:
        super().__init__(stream)
        self._repeats = repeats

    def emit(self, record: logging.LogRecord) -> None:
        for line in self._repeats.admit(record):
            super().emit(line)

    def drain(self) -> None:
        """Write the counts still withheld."""
        self.acquire()
        try:
            for line in self._repeats.drain():
                super().emit(line)
        finally:
            self.release()

    def close(self) -> None:
        self.drain()
        super().close()


def configure_logging(
    *,
    service: str,
    json: bool | None = None,
    level: str = "INFO",
    secrets: Iterable[str] = (),
    trace_id: Callable[[], str | None] = lambda: None,
    stream: TextIO | None = None,
    repeat_seconds: float = 30.0,
) -> LineHandler:
    """Send every logger of the process to `stream` (stdout), one line a record.

    `json` None means: readable on a terminal, JSON elsewhere. `secrets` are blanked wherever they
    appear. `trace_id` tells the current trace; it is asked where the line is logged.
    """
    out = stream or sys.stdout
    handler = LineHandler(out, Repeats(repeat_seconds))
    fields = Fields(service, Redactor(secrets), trace_id)
    as_json = not out.isatty() if json is None else json
    handler.setFormatter(
        JsonFormatter(fields) if as_json else ColourFormatter(fields, colour=out.isatty())
    )
    root = logging.getLogger()
    for former in list(root.handlers):
        root.removeHandler(former)
        former.close()
    root.addHandler(handler)
    root.setLevel(level.upper())
    for name, quiet in _QUIET.items():
        logging.getLogger(name).setLevel(quiet)
    logging.captureWarnings(capture=True)
    atexit.register(handler.drain)
    return handler
