"""A log record as one line: JSON for machines, colours for people."""

import json
import logging
import traceback
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from adapters.events import FIELDS, bound_fields
from adapters.logs.redaction import Redactor
from adapters.logs.repeats import REPEATED

FRAMES_MAX = 6
CAUSES_MAX = 4
LEADING = ("media_id", "trace_id", "attempt", "worker_id")
TraceId = Callable[[], str | None]

_encode = json.JSONEncoder(ensure_ascii=False, default=str).encode  # made once, not for each line

_COLOURS = {"DEBUG": "90", "INFO": "32", "WARNING": "33", "ERROR": "31", "CRITICAL": "1;31"}


class Fields:
    """What both formats show of a record, cleaned."""

    def __init__(self, service: str, redactor: Redactor, trace_id: TraceId) -> None:
        self._service = service
        self._redactor = redactor
        self._trace_id = trace_id

    def of(self, record: logging.LogRecord) -> dict[str, Any]:
        """The fields of the line, in the order in which they are shown."""
        given: Mapping[str, Any] | None = getattr(record, FIELDS, None)
        event, own = self._event(record, given)
        values: dict[str, Any] = {"trace_id": self._trace_id(), **own}
        values[REPEATED] = getattr(record, REPEATED, None)
        line = {
            "time": _rfc3339(record.created),
            "level": record.levelname.lower(),
            "event": self._redactor.text(event),
            "service": self._service,
        }
        ordered = {name: values.pop(name) for name in LEADING if name in values} | values
        for name, value in ordered.items():
            if value is not None and name not in line:
                line[name] = self._redactor.field(name, value)
        return line | self._error(record)

    @staticmethod
    def _event(
        record: logging.LogRecord, given: Mapping[str, Any] | None
    ) -> tuple[str, dict[str, Any]]:
        """An event of ours, or a library's message under the event `library_message`."""
        if given is not None:
            return record.getMessage(), dict(given)
        message = {"logger": record.name, "message": record.getMessage()}
        return "library_message", {**bound_fields(), **message}

    def _error(self, record: logging.LogRecord) -> dict[str, Any]:
        error = record.exc_info[1] if record.exc_info else None
        if error is None:
            return {}
        shown = {
            "error_type": type(error).__name__,
            "error": self._redactor.text(str(error)),
            "causes": [self._redactor.text(text) for text in _causes(error)],
            "stack": _frames(error),
        }
        return {name: value for name, value in shown.items() if value}


class JsonFormatter(logging.Formatter):
    """One JSON object a line."""

    def __init__(self, fields: Fields) -> None:
        super().__init__()
        self._fields = fields

    def format(self, record: logging.LogRecord) -> str:
        return _encode(self._fields.of(record))


class ColourFormatter(logging.Formatter):
    """`12:00:00.123 INFO  media_state_changed  media_id=… from=UPLOADED to=PROCESSING`."""

    def __init__(self, fields: Fields, *, colour: bool = True) -> None:
        super().__init__()
        self._fields = fields
        self._colour = colour

    def format(self, record: logging.LogRecord) -> str:
        line = self._fields.of(record)
        time, level, event = line.pop("time")[11:23], record.levelname, line.pop("event")
        del line["level"]
        pairs = " ".join(f"{self._paint(name, '36')}={_shown(v)}" for name, v in line.items())
        painted = self._paint(f"{level:<7}", _COLOURS.get(level, "0"))
        return f"{self._paint(time, '90')} {painted} {self._paint(_bare(event), '1')}  {pairs}"

    def _paint(self, text: str, code: str) -> str:
        return f"\x1b[{code}m{text}\x1b[0m" if self._colour else text


def _shown(value: Any) -> str:
    text = value if isinstance(value, str) else _encode(value)
    plain = text.isprintable() and " " not in text and text != ""
    return text if plain else json.dumps(_bare(text), ensure_ascii=False)


def _bare(text: str) -> str:
    """Control characters could forge lines or drive the terminal."""
    return "".join(c if c.isprintable() else " " for c in text)


def _rfc3339(created: float) -> str:
    text = datetime.fromtimestamp(created, UTC).isoformat(timespec="milliseconds")
    return text.replace("+00:00", "Z")


def _causes(error: BaseException) -> list[str]:
    """Type and text of what led to it, nearest first: the driver's own words."""
    found: list[str] = []
    cause = error.__cause__ or error.__context__
    while cause is not None and len(found) < CAUSES_MAX:
        found.append(f"{type(cause).__name__}: {cause}")
        cause = cause.__cause__ or cause.__context__
    return found


def _frames(error: BaseException) -> list[str]:
    """The innermost frames as `module.py:12 function`; no source lines, no values, no folders."""
    frames = traceback.extract_tb(error.__traceback__)[-FRAMES_MAX:]
    return [f"{frame.filename.rpartition('/')[2]}:{frame.lineno} {frame.name}" for frame in frames]
