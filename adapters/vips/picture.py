"""One photo in the decoder's hands."""

import re
from collections.abc import Iterator
from functools import partial

from adapters.sandbox.chain import Chain, Size, largest, wants_motion
from adapters.sandbox.containers import Kind
from adapters.sandbox.decoder import Encoded, Picture
from adapters.sandbox.film import Film
from adapters.sandbox.tone import png_gamma
from adapters.vips.colour import PROFILE, to_srgb
from adapters.vips.library import Damaged, Frame, bare, get, load
from adapters.vips.memory import estimate
from adapters.vips.modes import to_working, without_needless_alpha
from adapters.vips.tools import VipsTools
from domain.errors import ProcessingFailed
from domain.failure import FailureCode
from domain.parts import Placeholder
from domain.recipe import Recipe

# By measurement (docs/images.md): it costs no variant more than 0.003 of SSIM.
_SHRINK_MARGIN = 1.2  # scaled JPEG decoding stays this many times above the largest variant
_SHRINKS = (8, 4, 2)
_XMP_ORIENTATION = re.compile(rb'tiff:Orientation(?:="|>)([1-8])')
_ON_ITS_SIDE = 5  # orientations from here on swap width and height
_MOVING = frozenset({Kind.GIF, Kind.WEBP})
_UNTIMED_MS = 100  # what browsers show frames for that state no time


class VipsPicture(Picture):
    """See `Picture`. Reads the header when made and nothing more."""

    def __init__(self, data: bytes, kind: Kind, recipe: Recipe, *, frames: int) -> None:
        self._data = data
        self._kind = kind
        self._recipe = recipe
        self._frames = frames
        self._tools = VipsTools(recipe)
        self._header = _open(data, kind)
        self._orientation = _orientation(self._header)
        self._chain: Chain[Frame] | None = None

    @property
    def width(self) -> int:
        return int(self._header.width)

    @property
    def height(self) -> int:
        return int(self._header.height)

    @property
    def frames(self) -> int:
        return self._frames

    @property
    def needs(self) -> int:
        header = self._header
        target = largest(self._upright_size, self._recipe)
        return estimate(
            self._kind,
            file_bytes=len(self._data),
            whole=self.width * self.height,
            target=target[0] * target[1],
            alpha=bool(header.hasalpha()),
            streamed=header.format in ("uchar", "ushort")
            and not get(header, "jpeg-multiscan")
            and not get(header, "interlaced"),
            frames=self._frames if self._wants_motion else 1,
        )

    def decode(self) -> Size:
        size = self._upright_size
        profile = get(self._header, PROFILE)
        film = self._read(largest(size, self._recipe))
        film = film.map(partial(to_srgb, profile=profile)).map(without_needless_alpha)
        self._chain = Chain(self._tools, self._recipe, film, size)
        return size

    def variants(self) -> Iterator[Encoded]:
        assert self._chain is not None
        return self._chain.variants()

    def placeholder(self) -> Placeholder:
        assert self._chain is not None
        return self._chain.placeholder()

    @property
    def _upright_size(self) -> Size:
        return self._lying((self.width, self.height))

    @property
    def _wants_motion(self) -> bool:
        return self._frames > 1 and self._kind in _MOVING and wants_motion(self._recipe)

    def _read(self, target: Size) -> Film[Frame]:
        """The frames, upright, already at the scale of the largest variant."""
        if self._wants_motion:
            return self._read_film(target)
        shrink = self._shrink(target) if self._kind is Kind.JPEG else 1
        # The header's frame is good for the pixels too, if they are wanted as they are.
        frame = self._header if shrink == 1 else load(self._data, self._kind, shrink=shrink)
        return Film(frames=(self._upright(frame, target),))

    def _read_film(self, target: Size) -> Film[Frame]:
        strip = load(self._data, self._kind, n=-1)
        delays: list[int] = get(strip, "delay") or []
        loop = int(get(strip, "loop") or 0)
        strip = strip.copy_memory()
        count = strip.height // self.height
        pages = [strip.crop(0, i * self.height, self.width, self.height) for i in range(count)]
        return Film(
            frames=tuple(self._upright(page, target) for page in pages),
            durations=tuple(
                (delays[i] if i < len(delays) else 0) or _UNTIMED_MS for i in range(count)
            ),
            loop=loop,
        )

    def _shrink(self, target: Size) -> int:
        """How far the JPEG decoder itself may scale down."""
        across, down = self._lying(target)
        for shrink in _SHRINKS:
            margin = _SHRINK_MARGIN * shrink
            if self.width >= across * margin and self.height >= down * margin:
                return shrink
        return 1

    def _upright(self, frame: Frame, target: Size) -> Frame:
        """Scaled, then turned: the same pixels as the other way round, for less work."""
        working = to_working(frame, png_gamma(self._data) if self._kind is Kind.PNG else None)
        return _turned(bare(self._tools.scaled(working, self._lying(target))), self._orientation)

    def _lying(self, size: Size) -> Size:
        """An upright size as the file has it, or the other way round."""
        return (size[1], size[0]) if self._orientation >= _ON_ITS_SIDE else size


def _open(data: bytes, kind: Kind) -> Frame:
    try:
        return load(data, kind)
    except Damaged as error:
        if "labq" not in str(error):
            raise
        detail = "The TIFF keeps its colours as CIELAB, which is not supported; save it as RGB."
        raise ProcessingFailed(FailureCode.UNSUPPORTED_FORMAT, detail) from error


def _orientation(header: Frame) -> int:
    value = get(header, "orientation")
    if isinstance(value, int) and 1 < value <= 8:  # noqa: PLR2004 - EXIF knows eight
        return value
    found = _XMP_ORIENTATION.search(get(header, "xmp-data") or b"")
    return int(found[1]) if found else 1


def _turned(frame: Frame, orientation: int) -> Frame:
    if orientation in (2, 5, 7):
        frame = frame.fliphor()
    if orientation == 4:  # noqa: PLR2004 - EXIF 2.32, tag 0x0112
        return frame.flipver()
    quarter = {3: frame.rot180, 5: frame.rot270, 6: frame.rot90, 7: frame.rot90, 8: frame.rot270}
    return quarter[orientation]().copy_memory() if orientation in quarter else frame
