"""One or more frames of equal size on their way from the decoder to the encoder."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from PIL import Image


@dataclass(frozen=True, slots=True, kw_only=True)
class Film:
    """A still picture is a film of one frame. `durations` in milliseconds, `loop` 0 is for ever."""

    frames: tuple[Image.Image, ...]
    durations: tuple[int, ...] = (0,)
    loop: int = 0

    @property
    def size(self) -> tuple[int, int]:
        return self.frames[0].size

    @property
    def moves(self) -> bool:
        return len(self.frames) > 1

    @property
    def alpha(self) -> bool:
        """Whether any frame has an alpha channel."""
        return any(frame.mode in ("LA", "RGBA") for frame in self.frames)

    def map(self, change: Callable[[Image.Image], Image.Image]) -> "Film":
        """The film with every frame changed."""
        return replace(self, frames=tuple(change(frame) for frame in self.frames))
