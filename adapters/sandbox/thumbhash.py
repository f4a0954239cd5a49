"""ThumbHash: a picture's likeness in about 25 bytes, to show until the picture has loaded.

Written from the description of the algorithm at https://evanw.github.io/thumbhash/ (Evan Wallace,
2023): luminance, two chroma differences and alpha, each as the low frequencies of a cosine
transform, quantised to four bits. The transform is done row by row, then column by column, which
needs a tenth of the work of the textbook double sum.
"""

import math
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from operator import add, mul, sub

EDGE_MAX = 100
_MAX_8 = 255


@dataclass(frozen=True, slots=True)
class _Plane:
    """Rows of samples. They are whole numbers where they can be: `unit` stands for 1."""

    rows: list[Sequence[float]]
    unit: float


@dataclass(frozen=True, slots=True)
class _Channel:
    """Mean, low frequencies scaled to 0..1, and the scale they were divided by."""

    mean: float
    waves: list[float]
    scale: float


def thumbhash(size: tuple[int, int], rgba: bytes) -> bytes:
    """The hash of a picture of `size` in straight RGBA, at most 100 pixels on a side."""
    width, height = size
    assert 0 < width <= EDGE_MAX and 0 < height <= EDGE_MAX  # noqa: PT018 - one condition
    planes, opaque = _planes(width, height, rgba)
    limit = 7 if opaque else 5
    longest = max(width, height)
    across = max(1, _half_up(limit * width / longest))
    down = max(1, _half_up(limit * height / longest))
    light = _transform(planes[0], max(3, across), max(3, down))
    yellow, red = _transform(planes[1], 3, 3), _transform(planes[2], 3, 3)
    landscape = width > height
    head = (
        _half_up(63 * light.mean)
        | _half_up(31.5 + 31.5 * yellow.mean) << 6
        | _half_up(31.5 + 31.5 * red.mean) << 12
        | _half_up(31 * light.scale) << 18
        | (not opaque) << 23
    )
    tail = (
        (down if landscape else across)
        | _half_up(63 * yellow.scale) << 3
        | _half_up(63 * red.scale) << 9
        | landscape << 15
    )
    parts = [head.to_bytes(3, "little"), tail.to_bytes(2, "little")]
    waves = [*light.waves, *yellow.waves, *red.waves]
    if not opaque:
        alpha = _transform(planes[3], 5, 5)
        parts.append(bytes([_half_up(15 * alpha.mean) | _half_up(15 * alpha.scale) << 4]))
        waves += alpha.waves
    return b"".join(parts) + _nibbles(waves)


def as_text(digest: bytes) -> str:
    """Base64, as the HTTP contract shows it."""
    return b64encode(digest).decode("ascii")


def average_color(rgba: bytes) -> str:
    """`#rrggbb`, the mean of what is visible: each pixel counts as much as it is opaque."""
    alphas = rgba[3::4]
    weight = sum(alphas)
    if not weight:
        return "#ffffff"
    means = [_half_up(_total(rgba[i::4], alphas) / weight) for i in range(3)]
    return "#" + bytes(means).hex()


def _total(values: bytes, alphas: bytes) -> int:
    """The sum of the values, each times its alpha."""
    return sum(values) * _MAX_8 if _all_opaque(alphas) else sum(map(mul, values, alphas))


def _all_opaque(alphas: bytes) -> bool:
    return alphas.count(_MAX_8) == len(alphas)


def _planes(width: int, height: int, rgba: bytes) -> tuple[list[_Plane], bool]:
    """Luminance, yellow-blue, red-green and alpha; transparent parts take the mean colour."""
    alphas = rgba[3::4]
    opaque = _all_opaque(alphas)
    channels: list[Sequence[float]] = [rgba[i::4] for i in range(3)]
    if not opaque:
        channels = [_over_mean(rgba[i::4], alphas) for i in range(3)]
    red, green, blue = channels
    both = list(map(add, red, green))
    samples: list[tuple[Sequence[float], int]] = [
        (list(map(add, both, blue)), 3),  # (r + g + b) / 3
        (list(map(sub, both, map(add, blue, blue))), 2),  # (r + g) / 2 - b
        (list(map(sub, red, green)), 1),
        (alphas, 1),
    ]
    planes = [
        _Plane([plane[y * width : (y + 1) * width] for y in range(height)], unit * _MAX_8)
        for plane, unit in samples
    ]
    return planes, opaque


def _over_mean(values: bytes, alphas: bytes) -> list[float]:
    """The channel laid over its own mean, 0 to 255."""
    weight = sum(alphas)
    mean = _total(values, alphas) / weight if weight else 0.0
    return [mean + (v - mean) * a / _MAX_8 for v, a in zip(values, alphas, strict=True)]


def _transform(plane: _Plane, across: int, down: int) -> _Channel:
    """The lowest frequencies, those with cx * down < across * (down - cy)."""
    rows = plane.rows
    height, width = len(rows), len(rows[0])
    waves_x, waves_y = _cosines(width, across), _cosines(height, down)
    columns: list[list[float]] = [[sum(row) for row in rows]]  # the first wave is 1 throughout
    columns += [[sum(map(mul, row, wave)) for row in rows] for wave in waves_x[1:]]
    found = [
        sum(map(mul, columns[cx], waves_y[cy])) / (width * height * plane.unit)
        for cy in range(down)
        for cx in range(across)
        if cx * down < across * (down - cy)
    ]
    mean, waves = found[0], found[1:]
    scale = max((abs(wave) for wave in waves), default=0.0)
    if scale:
        waves = [0.5 + 0.5 / scale * wave for wave in waves]
    return _Channel(mean, waves, scale)


@cache
def _cosines(length: int, count: int) -> list[list[float]]:
    return [
        [math.cos(math.pi / length * k * (i + 0.5)) for i in range(length)] for k in range(count)
    ]


def _nibbles(waves: list[float]) -> bytes:
    values = [_half_up(15 * wave) for wave in waves]
    values += [0] * (len(values) % 2)
    return bytes(low | high << 4 for low, high in zip(values[::2], values[1::2], strict=True))


def _half_up(value: float) -> int:
    return math.floor(value + 0.5)
