"""One or more frames of equal size on their way from the decoder to the encoder."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

F = TypeVar("F")


@dataclass(frozen=True, slots=True, kw_only=True)
class Film(Generic[F]):
    """A still picture is a film of one frame; `F` is the image type of the library.

    `durations` are in milliseconds, `loop` is how often to play it, 0 for ever.
    """

    frames: tuple[F, ...]
    durations: tuple[int, ...] = (0,)
    loop: int = 0

    @property
    def moves(self) -> bool:
        return len(self.frames) > 1

    def map(self, change: Callable[[F], F]) -> "Film[F]":
        """The film with every frame changed."""
        return replace(self, frames=tuple(change(frame) for frame in self.frames))
