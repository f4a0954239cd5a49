"""Media and dead letters as rows of this schema, where a time is a number."""

import sqlite3
from datetime import datetime
from typing import Any

from adapters.rows import COLUMNS, from_row, to_row
from adapters.sqlite.times import from_micros, to_micros
from application.values import DeadLetter
from domain.media import Media

TIMES = (
    "created_at",
    "updated_at",
    "upload_expires_at",
    "deadline_at",
    "completed_at",
    "next_attempt_at",
)

_names = ", ".join(COLUMNS)
_values = ", ".join(f":{name}" for name in COLUMNS)
_assignments = ", ".join(f"{name} = :{name}" for name in COLUMNS if name != "id")

# The only statements not in statements.sql: their columns are those of `Media`.
INSERT = f"INSERT INTO media ({_names}, state_since) VALUES ({_values}, :updated_at)"  # noqa: S608 - field names
UPDATE = f"""
UPDATE media
SET {_assignments},
    state_since = CASE WHEN state = :state THEN state_since ELSE :updated_at END
WHERE id = :id AND version = :expected_version
"""  # noqa: S608 - field names


def media_to_row(media: Media) -> dict[str, Any]:
    row = to_row(media)
    for name in TIMES:
        row[name] = _micros(row[name])
    return row


def media_from_row(row: sqlite3.Row) -> Media:
    values = dict(row)
    for name in TIMES:
        values[name] = _moment(values[name])
    return from_row(values)


def letter_to_row(letter: DeadLetter) -> dict[str, Any]:
    return {
        "id": letter.id,
        "received_at": to_micros(letter.received_at),
        "reason": letter.reason,
        "media_id": letter.media_id,
        "body": letter.body,
        "replayed_at": _micros(letter.replayed_at),
        "dismissed_at": _micros(letter.dismissed_at),
    }


def letter_from_row(row: sqlite3.Row) -> DeadLetter:
    return DeadLetter(
        id=row["id"],
        received_at=from_micros(row["received_at"]),
        reason=row["reason"],
        media_id=row["media_id"],
        body=row["body"],
        replayed_at=_moment(row["replayed_at"]),
        dismissed_at=_moment(row["dismissed_at"]),
    )


def _micros(moment: datetime | None) -> int | None:
    return None if moment is None else to_micros(moment)


def _moment(micros: int | None) -> datetime | None:
    return None if micros is None else from_micros(micros)
