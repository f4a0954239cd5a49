"""From the bytes of a photo to frames in memory in a working mode."""

import struct
from collections.abc import Iterator
from io import BytesIO

from PIL import Image

from adapters.pillow.modes import to_working
from adapters.sandbox.containers import Kind
from adapters.sandbox.film import Film

PLUGINS = {
    Kind.JPEG: "JPEG",
    Kind.PNG: "PNG",
    Kind.WEBP: "WEBP",
    Kind.GIF: "GIF",
    Kind.AVIF: "AVIF",
    Kind.TIFF: "TIFF",
}
_ORIENTATION_TAG = 0x0112
_T = Image.Transpose
_TURNS = {
    2: _T.FLIP_LEFT_RIGHT,
    3: _T.ROTATE_180,
    4: _T.FLIP_TOP_BOTTOM,
    5: _T.TRANSPOSE,
    6: _T.ROTATE_270,
    7: _T.TRANSVERSE,
    8: _T.ROTATE_90,
}
_UNTIMED_MS = 100  # what browsers show frames for that state no time
_ON_ITS_SIDE = 5  # orientations from here on swap width and height
_BAD_EXIF = (
    SyntaxError, ValueError, LookupError, TypeError, OSError, AttributeError, ArithmeticError,
    struct.error,
)  # fmt: skip


def open_header(data: bytes, kind: Kind) -> Image.Image:
    """The picture with its header read, by the one plug-in that `kind` allows."""
    return Image.open(BytesIO(data), formats=(PLUGINS[kind],))


def orientation(picture: Image.Image) -> int:
    """EXIF (or XMP) orientation, 1 to 8; 1 where there is none that makes sense."""
    try:
        value: object = picture.getexif().get(_ORIENTATION_TAG, 1)
    except _BAD_EXIF:
        return 1
    return value if isinstance(value, int) and value in _TURNS else 1


def lies_on_its_side(orientation: int) -> bool:
    """Whether width and height change places when the picture is put upright."""
    return orientation >= _ON_ITS_SIDE


def upright(picture: Image.Image, orientation: int) -> Image.Image:
    """The picture turned the right way up."""
    turn = _TURNS.get(orientation)
    return picture if turn is None else picture.transpose(turn)


def read_still(picture: Image.Image) -> Film[Image.Image]:
    """The first frame, as the file has it."""
    return Film(frames=(_decoded(picture),))


def read_film(picture: Image.Image) -> Film[Image.Image]:
    """All frames, as the format composes them one over the other.

    Each is a copy, because the next one is drawn over it.
    """
    found = list(_frames(picture))
    return Film(
        frames=tuple(frame for frame, _ in found),
        durations=tuple(duration for _, duration in found),
        loop=_loop(picture),
    )


def _frames(picture: Image.Image) -> Iterator[tuple[Image.Image, int]]:
    # The default image of an animated PNG is for viewers that can't play it.
    first = 1 if getattr(picture, "default_image", False) else 0
    for number in range(first, int(getattr(picture, "n_frames", 1))):
        picture.seek(number)
        yield _decoded(picture).copy(), int(picture.info.get("duration", 0)) or _UNTIMED_MS


def _loop(picture: Image.Image) -> int:
    value: object = picture.info.get("loop", 0 if picture.format != "GIF" else 1)
    return value if isinstance(value, int) and 0 <= value <= 0xFFFF else 0  # noqa: PLR2004


def _decoded(picture: Image.Image) -> Image.Image:
    picture.load()
    working = to_working(picture)
    return _detached(working) if working is picture else working


def _detached(picture: Image.Image) -> Image.Image:
    """The same pixels without the file and the decoder behind them, which take memory too."""
    return picture._new(picture.im)  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
