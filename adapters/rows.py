"""A media as a flat row, and back: the one mapping that every SQL set shares.

Column names are the field names of `Media`. Scalars stay what they are; the nested values are
JSON text. What a date becomes is the set's own business.
"""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import msgspec

from domain.failure import Failure
from domain.lifecycle import State
from domain.media import Media
from domain.parts import Attempt, Original, Placeholder, Variant

COLUMNS: tuple[str, ...] = tuple(field.name for field in fields(Media))

_ENCODE = msgspec.json.Encoder().encode
_NESTED: dict[str, msgspec.json.Decoder[Any]] = {
    "attempts": msgspec.json.Decoder(tuple[Attempt, ...]),
    "original": msgspec.json.Decoder(Original | None),
    "variants": msgspec.json.Decoder(tuple[Variant, ...]),
    "placeholder": msgspec.json.Decoder(Placeholder | None),
    "failure": msgspec.json.Decoder(Failure | None),
}


def to_row(media: Media) -> dict[str, Any]:
    """Column name to value, in the order of COLUMNS."""
    row: dict[str, Any] = {name: getattr(media, name) for name in COLUMNS}
    row["state"] = media.state.value
    for name in _NESTED:
        row[name] = _ENCODE(row[name]).decode()
    return row


def from_row(row: Mapping[str, Any]) -> Media:
    """The media that `to_row` has flattened."""
    values = {name: row[name] for name in COLUMNS}
    values["state"] = State(values["state"])
    for name, decoder in _NESTED.items():
        values[name] = decoder.decode(values[name])
    return Media(**values)
