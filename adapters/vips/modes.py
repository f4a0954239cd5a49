"""Every pixel format libvips meets becomes 8 bits of grey, sRGB or CMYK, with or without alpha."""

from adapters.sandbox.tone import table
from adapters.vips.library import Frame, lookup_table

_MAX_8, _MAX_16 = 255, 65_535
_SHALLOW = {"grey16": "b-w", "rgb16": "srgb"}
_PLAIN = frozenset({"b-w", "srgb", "cmyk"})


def to_working(frame: Frame, gamma: float | None) -> Frame:
    """The frame, lazily: deep values scaled, floats brought into range."""
    if frame.format == "ushort":
        shallow = _SHALLOW.get(frame.interpretation, "srgb")
        frame = _toned(frame, gamma) if gamma else frame.colourspace(shallow)
        return frame.copy(interpretation=shallow)
    if frame.format != "uchar" and frame.bands <= 2:  # noqa: PLR2004 - grey and its alpha
        frame = _from_range(frame)
    if frame.interpretation not in _PLAIN:
        frame = frame.colourspace("b-w" if frame.bands == 1 else "srgb")
    return _toned(frame, gamma) if gamma else frame


def without_needless_alpha(frame: Frame) -> Frame:
    """The frame without its alpha where that is opaque throughout."""
    if not frame.hasalpha() or frame[frame.bands - 1].min() < _MAX_8:
        return frame
    return frame.extract_band(0, n=frame.bands - 1)


def _from_range(frame: Frame) -> Frame:
    """0 to 1 as fractions, 0 to 255 as bytes, any other range from its least to its largest."""
    frame = frame.copy_memory()
    low, high = frame.min(), frame.max()
    if low < 0 or high > _MAX_8:
        frame = (frame - low) * (_MAX_8 / max(high - low, 1e-30))
    elif high <= 1:
        frame = frame * _MAX_8
    return frame.rint().cast("uchar").copy(interpretation="b-w")


def _toned(frame: Frame, gamma: float) -> Frame:
    """Colours through the table; alpha is linear already and only scaled."""
    deep = frame.format == "ushort"
    curve = lookup_table(table(_MAX_16 if deep else _MAX_8, gamma))
    if not frame.hasalpha():
        return frame.maplut(curve)
    colours, alpha = frame.bands - 1, frame[frame.bands - 1]
    if deep:
        alpha = (alpha / (_MAX_16 / _MAX_8)).cast("uchar")
    return frame.extract_band(0, n=colours).maplut(curve).bandjoin(alpha)
