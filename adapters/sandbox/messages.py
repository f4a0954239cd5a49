"""What the worker and the decoding child say to each other: one line of JSON a message.

The order comes from us. The answers come from a process that may have been taken over by the
photo it decodes: their types carry limits, and the worker checks them against the recipe and the
disk on top.
"""

from pathlib import Path
from typing import Annotated

import msgspec

from domain.failure import FailureCode
from domain.recipe import Animation, Recipe, VariantSpec

LINE_BYTES_MAX = 4096
TRACEBACK_MAX = 1500
GO = b"go\n"
PART = ".part"  # suffix of the files the child writes into

_Edge = Annotated[int, msgspec.Meta(ge=1, le=1_000_000)]
_Bytes = Annotated[int, msgspec.Meta(ge=1, le=1 << 40)]
_Seconds = Annotated[float, msgspec.Meta(ge=0.0, le=86_400.0)]
_Name = Annotated[str, msgspec.Meta(pattern=r"\A[a-z0-9][a-z0-9_-]{0,31}\Z")]
_Text = Annotated[str, msgspec.Meta(max_length=500)]
_Token = Annotated[str, msgspec.Meta(max_length=64)]


class Caps(msgspec.Struct, frozen=True, kw_only=True):
    """The limits the child needs to know; names and units as in `EngineLimits`."""

    max_bytes: int
    max_pixels: int
    max_frames: int
    cpu_seconds: int
    address_space_bytes: int
    output_bytes: int
    open_files: int


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """Make these variants of `source` in `folder`."""

    source: str
    folder: str
    content_type: str
    name: str
    variants: tuple[VariantSpec, ...]
    background: str
    animation: Animation
    copyright: str | None
    caps: Caps

    @property
    def recipe(self) -> Recipe:
        return Recipe(
            name=self.name,
            variants=self.variants,
            background=self.background,
            animation=self.animation,
            copyright=self.copyright,
        )

    def part(self, variant: str) -> Path:
        """The file the child writes this variant into."""
        return Path(self.folder, variant + PART)


class _Answer(msgspec.Struct, kw_only=True, tag=True, forbid_unknown_fields=True):
    pass


class Opened(_Answer):
    """The header is read; decoding will need about `needs` bytes of memory. Waits for GO."""

    needs: _Bytes
    seconds: _Seconds


class Decoded(_Answer):
    """The picture is in memory; width and height after orientation."""

    width: _Edge
    height: _Edge
    format: _Token
    seconds: _Seconds


class Finished(_Answer):
    """A variant is written to its file."""

    name: _Name
    content_type: _Token
    width: _Edge
    height: _Edge
    bytes: _Bytes
    resize_seconds: _Seconds
    encode_seconds: _Seconds


class Done(_Answer):
    """All variants are written."""

    thumbhash: Annotated[str, msgspec.Meta(pattern=r"\A[A-Za-z0-9+/]{1,60}={0,2}\Z")]
    average_color: Annotated[str, msgspec.Meta(pattern=r"\A#[0-9a-f]{6}\Z")]
    seconds: _Seconds


class Failed(_Answer):
    """The photo cannot be rendered, and why."""

    code: FailureCode
    detail: _Text


class Crashed(_Answer):
    """An error nobody expects, with its traceback, for the operator's log."""

    traceback: Annotated[str, msgspec.Meta(max_length=TRACEBACK_MAX)]


Answer = Opened | Decoded | Finished | Done | Failed | Crashed

encode = msgspec.json.Encoder().encode
decode_answer = msgspec.json.Decoder(Answer).decode
decode_order = msgspec.json.Decoder(Order).decode
