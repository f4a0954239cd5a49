"""Every pixel format Pillow can meet becomes one of four: L, LA, RGB or RGBA, 8 bits each.

CMYK is left as it is: `colour` turns the inks into sRGB, by their profile if they have one.
"""
# pyright: reportUnknownMemberType=false
# (Pillow's annotations name numpy, which is not installed.)

from typing import Any, Literal, cast

from PIL import Image, ImageCms

from adapters.sandbox.tone import matters, table

WORKING = frozenset({"L", "LA", "RGB", "RGBA", "CMYK"})
_DIRECT = {"1": "L", "YCbCr": "RGB", "HSV": "RGB", "RGBX": "RGB", "RGBa": "RGBA", "La": "LA"}
_MAX_8, _MAX_16 = 255, 65_535


def to_working(picture: Image.Image) -> Image.Image:
    """`picture` in a working mode: deep values scaled, palettes and colour keys resolved."""
    gamma = _stated_gamma(picture)
    if picture.mode in ("I", "F") or picture.mode.startswith("I;16"):
        return _from_deep(picture, gamma)
    key = picture.info.get("transparency")
    if picture.mode == "P":
        picture = picture.convert("RGB" if key is None else "RGBA")
    elif picture.mode == "LAB":
        picture = _from_lab(picture)
    elif key is not None and picture.mode in ("1", "L", "RGB"):
        picture = _with_color_key(picture, key)
    elif picture.mode not in WORKING:
        picture = picture.convert(_DIRECT.get(picture.mode, "RGBA"))
    return _with_gamma(picture, gamma) if gamma else picture


def without_needless_alpha(picture: Image.Image) -> Image.Image:
    """The picture without its alpha where that is opaque throughout."""
    if picture.mode not in ("LA", "RGBA") or picture.getchannel("A").getextrema() != (255, 255):
        return picture
    return picture.convert(picture.mode[:-1])


def _from_deep(picture: Image.Image, gamma: float | None) -> Image.Image:
    """More than 8 bits of grey: 16 bits are scaled by their type, 32 bits by their values."""
    if picture.mode == "F":
        return _from_float(picture)
    wide = picture.convert("I")
    low, high = cast("tuple[int, int]", wide.getextrema())
    if low < 0 or high > _MAX_16:
        return _from_float(wide.convert("F"))
    grey = wide.point(table(_MAX_16, gamma), "L")
    key = picture.info.get("transparency")
    if isinstance(key, int):
        seen = [_MAX_8] * (_MAX_16 + 1)
        seen[key] = 0
        grey.putalpha(wide.point(seen, "L"))
    return grey


def _from_float(picture: Image.Image) -> Image.Image:
    """0 to 1 as fractions, 0 to 255 as bytes, any other range from its least to its largest."""
    low, high = cast("tuple[float, float]", picture.getextrema())
    scale, offset = 1.0, 0.0
    if low >= 0 and high <= 1:
        scale = _MAX_8
    elif low < 0 or high > _MAX_8:
        scale = _MAX_8 / max(high - low, 1e-30)
        offset = -low * scale

    def linear(value: Image.ImagePointTransform) -> Image.ImagePointTransform:
        return value * scale + offset

    return picture.point(linear).convert("L")


def profile(space: Literal["LAB", "sRGB"]) -> ImageCms.ImageCmsProfile:
    """A profile that the colour library makes itself."""
    return ImageCms.ImageCmsProfile(cast("Any", ImageCms.createProfile(space)))


def _from_lab(picture: Image.Image) -> Image.Image:
    transform = ImageCms.buildTransform(profile("LAB"), profile("sRGB"), "LAB", "RGB")
    converted = ImageCms.applyTransform(picture, transform)
    assert converted is not None
    return converted


def _with_color_key(picture: Image.Image, key: object) -> Image.Image:
    """One colour stands for transparent; a key of a 16-bit picture is cut down with its pixels."""
    if isinstance(key, tuple):
        parts = cast("tuple[int, ...]", key)
        deep = max(parts) > _MAX_8
        picture.info["transparency"] = tuple(part >> 8 if deep else part for part in parts)
    return picture.convert("RGBA" if picture.mode == "RGB" else "LA")


def _stated_gamma(picture: Image.Image) -> float | None:
    """The gamma a PNG states, if it is another than that of sRGB and no profile overrules it."""
    gamma: object = picture.info.get("gamma")
    if not isinstance(gamma, float) or picture.info.keys() & {"icc_profile", "srgb"}:
        return None
    return gamma if matters(gamma) else None


def _with_gamma(picture: Image.Image, gamma: float) -> Image.Image:
    changed, same = table(_MAX_8, gamma), list(range(_MAX_8 + 1))
    columns = [same if band == "A" else changed for band in picture.getbands()]
    return picture.point([value for column in columns for value in column])
