"""The gamma a PNG may state, and the way from it to the curve of sRGB."""

from collections.abc import Iterator

_MAX_8 = 255
_USUAL = 1 / 2.2
_NEAR = 0.03  # closer than this to the usual one nobody sees a difference
_SANE = (0.05, 5.0)


def png_gamma(data: bytes) -> float | None:
    """The gamma that a PNG states, if it matters: see `matters`. A profile overrules it."""
    chunks = dict(_chunks_before_pixels(data))
    if b"gAMA" not in chunks or chunks.keys() & {b"iCCP", b"sRGB"}:
        return None
    gamma = int.from_bytes(chunks[b"gAMA"][:4]) / 100_000
    return gamma if matters(gamma) else None


def matters(gamma: float) -> bool:
    """Whether this is another gamma than that of sRGB, and one a picture can have."""
    return abs(gamma - _USUAL) > _NEAR and _SANE[0] <= gamma <= _SANE[1]


def table(largest: int, gamma: float | None) -> list[int]:
    """Samples 0..`largest`, stored with `gamma` (None: as sRGB), to sRGB 0..255."""
    scale = [value / largest for value in range(largest + 1)]
    if gamma:
        scale = [_srgb(value ** (1 / gamma)) for value in scale]
    return [int(value * _MAX_8 + 0.5) for value in scale]


def _srgb(light: float) -> float:
    """The transfer function of IEC 61966-2-1."""
    return 12.92 * light if light <= 0.0031308 else 1.055 * light ** (1 / 2.4) - 0.055  # noqa: PLR2004


def _chunks_before_pixels(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    position = 8
    while position + 8 <= len(data) and data[position + 4 : position + 8] != b"IDAT":
        size = int.from_bytes(data[position : position + 4])
        yield data[position + 4 : position + 8], data[position + 8 : position + 8 + size]
        position += 12 + size
