"""One photo in the decoder's hands: reading, scaling from variant to variant, encoding."""
# pyright: reportUnknownMemberType=false
# (Pillow's annotations name numpy, which is not installed.)

import math
import time
from collections.abc import Iterator
from functools import partial

from PIL import Image

from adapters.pillow import encoding, reading
from adapters.pillow.colour import to_srgb
from adapters.pillow.film import Film
from adapters.pillow.memory import Header, estimate
from adapters.pillow.modes import without_needless_alpha
from adapters.sandbox.containers import Kind
from adapters.sandbox.decoder import Encoded, Picture
from adapters.sandbox.geometry import Placement, place
from adapters.sandbox.thumbhash import as_text, average_color, thumbhash
from domain.parts import Placeholder
from domain.recipe import Animation, OutputFormat, Recipe, VariantSpec

_MOVING_OUTPUT = frozenset({OutputFormat.WEBP, OutputFormat.AUTO})
_BICUBIC, _LANCZOS = Image.Resampling.BICUBIC, Image.Resampling.LANCZOS
_BOX = Image.Resampling.BOX

# By measurement (docs/images.md): what these save costs no variant more than 0.003 of SSIM.
_DRAFT_MARGIN = 1.2  # scaled JPEG decoding stays this many times above the largest variant
_BICUBIC_FROM_PIXELS = 1_500_000  # larger pictures are scaled down with the cheaper filter
_REDUCING_GAP = 2.0
_PLACEHOLDER_EDGE = 32


class PillowPicture(Picture):
    """See `Picture`. `picture` has its header read and nothing more."""

    def __init__(
        self, picture: Image.Image, kind: Kind, recipe: Recipe, *, file_bytes: int
    ) -> None:
        self._picture = [picture]  # given away when it is decoded, so that its memory is freed
        self._kind = kind
        self._recipe = recipe
        self._frames = reading.count_frames(picture, kind)
        self._header = picture.size
        self._size = picture.size
        self._levels: list[Film] = []  # the whole picture, ever smaller
        if kind is Kind.JPEG:
            self._ask_for_less(picture)
        self._needs = self._estimate(picture, file_bytes)

    @property
    def width(self) -> int:
        return self._header[0]

    @property
    def height(self) -> int:
        return self._header[1]

    @property
    def frames(self) -> int:
        return self._frames

    @property
    def needs(self) -> int:
        return self._needs

    def decode(self) -> tuple[int, int]:
        picture = self._picture.pop()
        profile = picture.info.get("icc_profile")
        film = self._read(picture)
        del picture
        if self._kind is not Kind.JPEG:
            self._size = film.size
        film = self._shrunk(film, self._largest(self._size))
        film = film.map(partial(to_srgb, embedded=profile))
        self._levels = [film.map(without_needless_alpha)]
        return self._size

    def variants(self) -> Iterator[Encoded]:
        for spec in sorted(self._recipe.variants, key=self._whole_area, reverse=True):
            began = time.perf_counter()
            film = self._scaled(self._place(spec))
            resized = time.perf_counter()
            data, content_type = self._encode(film, spec)
            yield Encoded(
                spec=spec,
                data=data,
                content_type=content_type,
                width=film.size[0],
                height=film.size[1],
                resize_seconds=resized - began,
                encode_seconds=time.perf_counter() - resized,
            )

    def placeholder(self) -> Placeholder:
        picture = self._levels[-1].frames[0].convert("RGBA")
        picture.thumbnail((_PLACEHOLDER_EDGE, _PLACEHOLDER_EDGE), _BOX, reducing_gap=None)
        pixels = picture.tobytes()
        return Placeholder(
            thumbhash=as_text(thumbhash(picture.size, pixels)),
            average_color=average_color(pixels),
        )

    def _ask_for_less(self, picture: Image.Image) -> None:
        """Let the JPEG decoder leave out what no variant shows; note the true size first."""
        turned = reading.lies_on_its_side(picture)
        self._size = _swapped(picture.size) if turned else picture.size
        width, height = (math.ceil(e * _DRAFT_MARGIN) for e in self._largest(self._size))
        picture.draft(None, (height, width) if turned else (width, height))

    def _estimate(self, picture: Image.Image, file_bytes: int) -> int:
        info = picture.info
        return estimate(
            Header(
                kind=self._kind,
                mode=picture.mode,
                file_bytes=file_bytes,
                whole=math.prod(self._header),
                decoded=math.prod(picture.size),
                target=math.prod(self._largest(self._size)),
                converted=picture.mode not in ("L", "RGB", "RGBA", "LA", "CMYK")
                or bool(info.keys() & {"exif", "xmp", "transparency"}),
                progressive=bool(info.get("progressive")),
                frames=self._frames if self._wants_motion() else 1,
            )
        )

    def _wants_motion(self) -> bool:
        return (
            self._frames > 1
            and self._recipe.animation is Animation.KEEP
            and any(spec.format in _MOVING_OUTPUT for spec in self._recipe.variants)
        )

    def _read(self, picture: Image.Image) -> Film:
        if self._wants_motion():
            return reading.read_film(picture, self._frames)
        return reading.read_still(picture)

    def _place(self, spec: VariantSpec) -> Placement:
        return place(self._size[0], self._size[1], spec)

    def _largest(self, size: tuple[int, int]) -> tuple[int, int]:
        """The size of the whole picture at the scale of the largest variant."""
        wholes = [place(size[0], size[1], spec).whole for spec in self._recipe.variants]
        width, height = max(wholes, key=lambda whole: whole[0] * whole[1])
        return min(size[0], math.ceil(width - 1e-6)), min(size[1], math.ceil(height - 1e-6))

    def _whole_area(self, spec: VariantSpec) -> float:
        return math.prod(self._place(spec).whole)

    def _scaled(self, placement: Placement) -> Film:
        """The variant's pixels, taken from the smallest level that has them all."""
        size = placement.width, placement.height
        whole = placement.whole
        source = next(
            level
            for level in reversed(self._levels)
            if level.size[0] >= whole[0] - 1 and level.size[1] >= whole[1] - 1
        )
        if placement.box == (0.0, 0.0, 1.0, 1.0):
            film = self._shrunk(source, size)
            if film is not source:
                self._levels.append(film)
            return film
        return source.map(partial(_cropped, size=size, box=placement.box))

    @staticmethod
    def _shrunk(film: Film, size: tuple[int, int]) -> Film:
        if film.size == size:
            return film
        return film.map(partial(_resized, size=size))

    def _encode(self, film: Film, spec: VariantSpec) -> tuple[bytes, str]:
        finish = encoding.Finish(
            background=self._recipe.background, copyright=self._recipe.copyright
        )
        if film.moves and spec.format in _MOVING_OUTPUT:
            return encoding.encode_animation(film, spec.quality, finish)
        form = encoding.choose(spec.format, alpha=film.alpha)
        return encoding.encode(film.frames[0], form, spec.quality, finish)


def _swapped(size: tuple[int, int]) -> tuple[int, int]:
    return size[1], size[0]


def _cropped(
    picture: Image.Image, size: tuple[int, int], box: tuple[float, float, float, float]
) -> Image.Image:
    left, top, right, bottom = box
    width, height = picture.size
    pixels = (left * width, top * height, right * width, bottom * height)
    return _resized(picture, size, pixels)


def _resized(
    picture: Image.Image,
    size: tuple[int, int],
    box: tuple[float, float, float, float] | None = None,
) -> Image.Image:
    large = size[0] * size[1] >= _BICUBIC_FROM_PIXELS
    return picture.resize(size, _BICUBIC if large else _LANCZOS, box, _REDUCING_GAP)
