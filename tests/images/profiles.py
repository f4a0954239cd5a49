"""ICC profiles built from numbers (ICC.1:2001-04), so that no binary need be kept."""

import struct
import zlib
from collections.abc import Sequence
from typing import Any, cast

from PIL import ImageCms

Colorant = tuple[float, float, float]
# XYZ of the primaries, adapted to D50.
_P3: tuple[Colorant, ...] = (
    (0.5151, 0.2412, -0.0011),
    (0.292, 0.6922, 0.0419),
    (0.1571, 0.0666, 0.7841),
)
_SRGB: tuple[Colorant, ...] = (
    (0.4361, 0.2225, 0.0139),
    (0.3851, 0.7169, 0.0971),
    (0.1431, 0.0606, 0.7141),
)
_D50 = (0.9642, 1.0, 0.8249)


def srgb_profile() -> bytes:
    """The profile most cameras embed, under whatever name."""
    return built_in("sRGB").tobytes()


def built_in(space: str) -> ImageCms.ImageCmsProfile:
    """A profile that the colour library makes itself: sRGB or LAB."""
    create = cast("Any", ImageCms).createProfile
    return ImageCms.ImageCmsProfile(create(space))


def png_with(data: bytes, gamma: float) -> bytes:
    """The PNG with a gAMA chunk after its header."""
    body = b"gAMA" + struct.pack(">I", round(gamma * 100_000))
    chunk = struct.pack(">I", 4) + body + struct.pack(">I", zlib.crc32(body))
    return data[:33] + chunk + data[33:]


def _fixed(value: float) -> bytes:
    return struct.pack(">i", round(value * 65_536))


def _xyz(values: Sequence[float]) -> bytes:
    return b"XYZ \0\0\0\0" + b"".join(_fixed(value) for value in values)


def _curve(gamma: float) -> bytes:
    return b"curv\0\0\0\0" + struct.pack(">IH", 1, round(gamma * 256)) + b"\0\0"


def _text(line: bytes) -> bytes:
    return b"desc\0\0\0\0" + struct.pack(">I", len(line) + 1) + line + b"\0" * 79


def _profile(space: bytes, tags: dict[bytes, bytes]) -> bytes:
    tags = {b"desc": _text(b"test"), b"cprt": b"text\0\0\0\0none\0\0\0\0", **tags}
    table, body = b"", b""
    start = 128 + 4 + 12 * len(tags)
    for name, value in tags.items():
        padded = value + b"\0" * (-len(value) % 4)
        table += name + struct.pack(">II", start + len(body), len(value))
        body += padded
    head = struct.pack(
        ">I4sI4s4s4s", start + len(body), b"test", 0x02400000, b"mntr", space, b"XYZ "
    )
    head += b"\0" * 12 + b"acsp" + b"\0" * 28
    head += b"".join(_fixed(value) for value in _D50)
    return head.ljust(128, b"\0") + struct.pack(">I", len(tags)) + table + body


def _rgb(colorants: Sequence[Colorant], gamma: float) -> bytes:
    names = zip((b"rXYZ", b"gXYZ", b"bXYZ"), colorants, strict=True)
    curves = {name: _curve(gamma) for name in (b"rTRC", b"gTRC", b"bTRC")}
    tags = {name: _xyz(xyz) for name, xyz in names} | curves | {b"wtpt": _xyz(_D50)}
    return _profile(b"RGB ", tags)


P3 = _rgb(_P3, 2.2)
SWAPPED = _rgb((_SRGB[1], _SRGB[0], _SRGB[2]), 2.2)  # red is green
GREY_LINEAR = _profile(b"GRAY", {b"kTRC": _curve(1.0), b"wtpt": _xyz(_D50)})
