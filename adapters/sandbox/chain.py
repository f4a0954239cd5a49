"""From one decoded picture to every variant of a recipe, each made from the next larger one.

The same for all image libraries; what a library has to be able to do for it is `Tools`.
"""

import math
import time
from collections.abc import Iterator
from functools import partial
from typing import Generic, Protocol, TypeVar

from adapters.sandbox.decoder import Encoded
from adapters.sandbox.film import Film
from adapters.sandbox.geometry import Box, Placement, place
from adapters.sandbox.thumbhash import as_text, average_color, thumbhash
from domain.parts import Placeholder
from domain.recipe import CONTENT_TYPES, Animation, OutputFormat, Recipe, VariantSpec

F = TypeVar("F")
Size = tuple[int, int]

_MOVING = frozenset({OutputFormat.WEBP, OutputFormat.AUTO})
_PLACEHOLDER_EDGE = 32


class Tools(Protocol[F]):
    """The operations of an image library, on frames in sRGB or grey, with or without alpha."""

    def size(self, frame: F) -> Size: ...
    def has_alpha(self, frame: F) -> bool: ...

    def resize(self, frame: F, size: Size, box: Box | None) -> F:
        """Scale the `box` of the frame, in pixels, or all of it, to `size`; never enlarges."""
        ...

    def encode(self, film: Film[F], form: OutputFormat, quality: int) -> bytes:
        """A file of that format without metadata; only WebP is asked to move."""
        ...

    def tiny(self, frame: F, edge: int) -> tuple[Size, bytes]:
        """The frame in straight RGBA, scaled to fit within `edge` pixels."""
        ...


def wants_motion(recipe: Recipe) -> bool:
    """Whether any variant will show more than the first frame."""
    return recipe.animation is Animation.KEEP and any(
        spec.format in _MOVING for spec in recipe.variants
    )


def largest(size: Size, recipe: Recipe) -> Size:
    """The size of the whole picture at the scale of the largest variant."""
    wholes = [place(*size, spec).whole for spec in recipe.variants]
    width, height = max(wholes, key=math.prod)
    return min(size[0], math.ceil(width - 1e-6)), min(size[1], math.ceil(height - 1e-6))


class Chain(Generic[F]):
    """Holds the picture at every scale made so far; `size` is that of the original, upright."""

    def __init__(self, tools: Tools[F], recipe: Recipe, film: Film[F], size: Size) -> None:
        self._tools = tools
        self._recipe = recipe
        self._size = size
        self._levels = [film]  # the whole picture, ever smaller

    def variants(self) -> Iterator[Encoded]:
        """The variants, largest first."""
        specs = sorted(self._recipe.variants, key=self._whole_area, reverse=True)
        for spec in specs:
            began = time.perf_counter()
            film = self._scaled(place(*self._size, spec))
            resized = time.perf_counter()
            form = self._form(film, spec)
            data = self._tools.encode(film, form, spec.quality)
            width, height = self._tools.size(film.frames[0])
            yield Encoded(
                spec=spec,
                data=data,
                content_type=CONTENT_TYPES[form],
                width=width,
                height=height,
                resize_seconds=resized - began,
                encode_seconds=time.perf_counter() - resized,
            )

    def placeholder(self) -> Placeholder:
        """Made from the smallest whole picture there is."""
        size, pixels = self._tools.tiny(self._levels[-1].frames[0], _PLACEHOLDER_EDGE)
        return Placeholder(
            thumbhash=as_text(thumbhash(size, pixels)), average_color=average_color(pixels)
        )

    def _whole_area(self, spec: VariantSpec) -> float:
        return math.prod(place(*self._size, spec).whole)

    def _scaled(self, placement: Placement) -> Film[F]:
        """The variant's pixels, taken from the smallest level that has them all."""
        whole = placement.whole
        source = self._levels[0]
        for level in self._levels:
            width, height = self._tools.size(level.frames[0])
            if width >= whole[0] - 1 and height >= whole[1] - 1:
                source = level
        size = placement.width, placement.height
        if not placement.cropped:
            film = shrunk(self._tools, source, size)
            if film is not source:
                self._levels.append(film)
            return film
        box = placement.pixels(*self._tools.size(source.frames[0]))
        return source.map(partial(self._tools.resize, size=size, box=box))

    def _form(self, film: Film[F], spec: VariantSpec) -> OutputFormat:
        """What AUTO means for this picture; every other format stands for itself."""
        if spec.format is not OutputFormat.AUTO:
            return spec.format
        alpha = any(self._tools.has_alpha(frame) for frame in film.frames)
        return OutputFormat.WEBP if film.moves or alpha else OutputFormat.JPEG


def shrunk(tools: Tools[F], film: Film[F], size: Size) -> Film[F]:
    """The film at `size`; the very same if it has that size."""
    if tools.size(film.frames[0]) == size:
        return film
    return film.map(partial(tools.resize, size=size, box=None))
