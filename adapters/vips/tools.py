"""What the chain of variants asks of libvips."""

import math

from adapters.sandbox.chain import Size, Tools
from adapters.sandbox.containers import declare_alpha
from adapters.sandbox.film import Film
from adapters.sandbox.geometry import Box
from adapters.vips.library import Frame, bare, join, set_numbers, set_text
from domain.recipe import OutputFormat, Recipe

# By measurement (docs/images.md). Effort 2 costs two fifths of the default 4, and a little
# sharpness, which a little more quality buys back in large pictures, together with a kernel that
# rings less than Lanczos. Small pictures are cheap enough for effort 4.
_WEBP_SMALL_PIXELS = 400_000
_LARGE_PIXELS = 1_500_000
_WEBP_SMALL, _WEBP_MEDIUM, _WEBP_LARGE = (4, 0), (2, 0), (2, 1)  # effort, more quality
_KERNEL, _KERNEL_LARGE = "lanczos3", "mks2021"
# JPEG has sharpness to spare: in large pictures it is had for less than half the arithmetic.
_KERNEL_CHEAP, _CHEAP_PIXELS = "cubic", 500_000
_SPARING = frozenset({OutputFormat.JPEG, OutputFormat.AUTO})


class VipsTools(Tools[Frame]):
    """Frames are in memory, 8 bits, grey or sRGB (CMYK until then), with straight alpha."""

    def __init__(self, recipe: Recipe) -> None:
        self._background = [int(recipe.background[i : i + 2], 16) for i in (1, 3, 5)]
        self._copyright = recipe.copyright
        self._large = (_KERNEL_LARGE, _LARGE_PIXELS)
        if all(spec.format in _SPARING for spec in recipe.variants):
            self._large = (_KERNEL_CHEAP, _CHEAP_PIXELS)

    def size(self, frame: Frame) -> Size:
        return frame.width, frame.height

    def has_alpha(self, frame: Frame) -> bool:
        return bool(frame.hasalpha())

    def resize(self, frame: Frame, size: Size, box: Box | None) -> Frame:
        if box is not None:
            left, top = math.floor(box[0] + 0.5), math.floor(box[1] + 0.5)
            width = max(size[0], math.floor(box[2] + 0.5) - left)
            height = max(size[1], math.floor(box[3] + 0.5) - top)
            frame = frame.crop(left, top, width, height)
        return bare(self.scaled(frame, size))

    def encode(self, film: Film[Frame], form: OutputFormat, quality: int) -> bytes:
        if film.moves and form is OutputFormat.WEBP:
            return self._animation(film, quality)
        frame = self._signed(film.frames[0])
        keep = "exif" if self._copyright else "none"
        if form is OutputFormat.JPEG:
            return self._flattened(frame).jpegsave_buffer(Q=quality, keep=keep)
        if form is OutputFormat.PNG:
            return frame.pngsave_buffer(compression=6, keep=keep)
        if form is OutputFormat.AVIF:
            return frame.heifsave_buffer(Q=quality, compression="av1", effort=1, keep=keep)
        effort, more = _webp(frame.width * frame.height)
        return frame.webpsave_buffer(Q=min(100, quality + more), effort=effort, keep=keep)

    def tiny(self, frame: Frame, edge: int) -> tuple[Size, bytes]:
        scale = min(1.0, edge / frame.width, edge / frame.height)
        size = max(1, round(frame.width * scale)), max(1, round(frame.height * scale))
        return size, _rgba(self.scaled(frame, size))

    def scaled(self, frame: Frame, size: Size) -> Frame:
        """The frame at `size`, lazily; colours under transparent pixels don't bleed."""
        if (frame.width, frame.height) == size:
            return frame
        across, down = size[0] / frame.width, size[1] / frame.height
        kernel, large_pixels = self._large
        kernel = kernel if size[0] * size[1] >= large_pixels else _KERNEL
        if not frame.hasalpha():
            return frame.resize(across, vscale=down, kernel=kernel)
        frame = frame.premultiply().cast("uchar")  # scaling floats would take ten times as long
        return frame.resize(across, vscale=down, kernel=kernel).unpremultiply().cast("uchar")

    def _animation(self, film: Film[Frame], quality: int) -> bytes:
        strip = self._signed(bare(join(film.frames)))
        strip = set_numbers(strip, "page-height", film.frames[0].height)
        strip = set_numbers(strip, "delay", list(film.durations))
        strip = set_numbers(strip, "loop", film.loop)
        effort, more = _webp(strip.width * film.frames[0].height)
        keep = "exif" if self._copyright else "none"
        data = strip.webpsave_buffer(Q=min(100, quality + more), effort=effort, keep=keep)
        return declare_alpha(data) if strip.hasalpha() else data

    def _flattened(self, frame: Frame) -> Frame:
        if not frame.hasalpha():
            return frame
        return frame.colourspace("srgb").flatten(background=self._background)

    def _signed(self, frame: Frame) -> Frame:
        line = self._copyright
        return set_text(frame, "exif-ifd0-Copyright", line) if line else frame


def _webp(pixels: int) -> tuple[int, int]:
    if pixels <= _WEBP_SMALL_PIXELS:
        return _WEBP_SMALL
    return _WEBP_LARGE if pixels >= _LARGE_PIXELS else _WEBP_MEDIUM


def _rgba(frame: Frame) -> bytes:
    """The pixels of a small picture; by hand, because each operation costs a millisecond."""
    pixels, bands = bytes(frame.write_to_memory()), int(frame.bands)
    colours = (0, 1, 2) if bands > 2 else (0, 0, 0)  # noqa: PLR2004 - grey and its alpha
    rgba = bytearray(b"\xff" * (4 * frame.width * frame.height))
    for place, band in enumerate(colours):
        rgba[place::4] = pixels[band::bands]
    if frame.hasalpha():
        rgba[3::4] = pixels[bands - 1 :: bands]
    return bytes(rgba)
