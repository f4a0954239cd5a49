"""Colours to sRGB by the photo's own profile, and only where that changes anything.

Profiles that say the same as sRGB, in whatever words, are found by putting a small cube of colours
through the transform; most photos are done then, at a thousandth of the cost.
"""

from itertools import product

from adapters.vips.library import Damaged, Frame, from_memory, set_blob

PROFILE = "icc-profile-data"
_LEVELS = range(0, 256, 51)
_CUBE = bytes(value for colour in product(_LEVELS, repeat=3) for value in colour)
_INVISIBLE = 2  # of 255
_SPACES = {b"RGB ": ("srgb", 3), b"GRAY": ("b-w", 1), b"CMYK": ("cmyk", 4)}


def to_srgb(frame: Frame, profile: bytes | None) -> Frame:
    """`frame`, in memory, 8 bits, as sRGB or grey, with its alpha.

    A profile that is damaged or belongs to another kind of picture counts as none.
    """
    if profile and _fits(frame, profile):
        try:
            if frame.interpretation != "srgb" or _does_something(profile):
                return _transformed(set_blob(frame, PROFILE, profile))
        except Damaged:
            pass
    return frame.colourspace("srgb") if frame.interpretation == "cmyk" else frame


def _fits(frame: Frame, profile: bytes) -> bool:
    interpretation, bands = _SPACES.get(profile[16:20], ("", 0))
    return frame.interpretation == interpretation and frame.bands in (bands, bands + 1)


def _does_something(profile: bytes) -> bool:
    cube = from_memory(_CUBE, len(_CUBE) // 3, 1, 3)
    moved = _transformed(set_blob(cube, PROFILE, profile))
    return (moved - cube).abs().max() > _INVISIBLE


def _transformed(frame: Frame) -> Frame:
    """Raises if the profile is of no use, before any other is tried in its place."""
    return frame.icc_transform(
        "srgb", embedded=True, intent="relative", black_point_compensation=True, depth=8
    ).copy_memory()
