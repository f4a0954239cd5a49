"""What an image library must offer to work inside the sandbox.

A decoder module is named to the forkserver and carries `DECODER`, a `Decoder`. Its code runs in
the forkserver (`preload`) and in the children (everything else), never in the worker.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from adapters.sandbox.containers import Kind
from adapters.sandbox.messages import Caps
from domain.parts import Placeholder
from domain.recipe import Recipe, VariantSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoded:
    """One finished variant in memory."""

    spec: VariantSpec
    data: bytes
    content_type: str
    width: int
    height: int
    resize_seconds: float
    encode_seconds: float


class Picture(Protocol):
    """A photo whose header has been read; nothing is decoded yet.

    `width` and `height` are those of the header, `needs` is an upper estimate, in bytes, of the
    memory that decoding and rendering will take.
    """

    @property
    def width(self) -> int: ...
    @property
    def height(self) -> int: ...
    @property
    def frames(self) -> int: ...
    @property
    def needs(self) -> int: ...

    def decode(self) -> tuple[int, int]:
        """Decode; returns width and height after orientation.

        Raises ProcessingFailed, MemoryError, or whatever the library raises on damaged data.
        """
        ...

    def variants(self) -> Iterator[Encoded]:
        """Every variant of the recipe, each encoded when it is asked for."""
        ...

    def placeholder(self) -> Placeholder:
        """Cheap once the variants are made."""
        ...


class Decoder(Protocol):
    """An image library.

    `threads` says whether it cannot work without making threads, `damage` is what it raises on
    data that makes no sense. An OSError with an error number never counts as damage.
    """

    threads: bool
    damage: tuple[type[Exception], ...]

    def preload(self) -> None:
        """Import, initialise and warm up everything: a child can't open any file any more."""
        ...

    def open(self, data: bytes, kind: Kind, recipe: Recipe, caps: Caps) -> Picture:
        """Read the header. Raises as `Picture.decode` does."""
        ...
