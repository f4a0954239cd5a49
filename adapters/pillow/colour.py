"""Colours to sRGB by the photo's own profile, and only where that changes anything.

Profiles that say the same as sRGB, in whatever words, are found by putting a small cube of colours
through the transform; most photos are done then, at a thousandth of the cost.
"""
# pyright: reportUnknownMemberType=false
# (Pillow's annotations name numpy, which is not installed.)

from io import BytesIO
from itertools import product
from typing import Any, cast

from PIL import Image, ImageChops, ImageCms

from adapters.pillow.modes import profile

_SRGB = profile("sRGB")
_INTENT = ImageCms.Intent.RELATIVE_COLORIMETRIC
_FLAGS = ImageCms.Flags.BLACKPOINTCOMPENSATION
_LEVELS = range(0, 256, 51)
_INVISIBLE = 2  # of 255
_SPACES = {"RGB": "RGB", "L": "GRAY", "CMYK": "CMYK"}


def to_srgb(picture: Image.Image, embedded: bytes | None) -> Image.Image:
    """`picture`, in a working mode, as sRGB in L, LA, RGB or RGBA.

    A profile that is damaged or belongs to another kind of picture counts as none.
    """
    alpha = picture.getchannel("A") if picture.mode in ("LA", "RGBA") else None
    opaque = picture.convert(picture.mode[:-1]) if alpha else picture
    transform = _transform(embedded, opaque.mode) if embedded else None
    if transform is None:
        return picture.convert("RGB") if picture.mode == "CMYK" else picture
    converted = ImageCms.applyTransform(opaque, transform)
    assert converted is not None
    if alpha:
        converted.putalpha(alpha)
    return converted


def _transform(embedded: bytes, mode: str) -> ImageCms.ImageCmsTransform | None:
    """The way from the embedded profile to sRGB; None where it is no way at all."""
    try:
        source = ImageCms.ImageCmsProfile(BytesIO(embedded))
        if cast("Any", source.profile).xcolor_space.strip() != _SPACES[mode]:
            return None
        transform = ImageCms.buildTransform(source, _SRGB, mode, "RGB", _INTENT, _FLAGS)
        return None if mode == "RGB" and _does_nothing(transform) else transform
    except (ImageCms.PyCMSError, OSError, ValueError):
        return None


def _does_nothing(transform: ImageCms.ImageCmsTransform) -> bool:
    cube = Image.new("RGB", (len(_LEVELS) ** 3, 1))
    cube.putdata(list(product(_LEVELS, repeat=3)))
    moved = ImageCms.applyTransform(cube, transform)
    assert moved is not None
    difference = ImageChops.difference(cube, moved).getextrema()
    extrema = cast("tuple[tuple[int, int], ...]", difference)
    return all(high <= _INVISIBLE for _, high in extrema)
