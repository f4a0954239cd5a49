"""ThumbHash: a picture's likeness in about 25 bytes, to show until the picture has loaded.

Written from the description of the algorithm at https://evanw.github.io/thumbhash/ (Evan Wallace,
2023): luminance, two chroma differences and alpha, each as the low frequencies of a cosine
transform, quantised to four bits. The transform is done row by row, then column by column, which
needs a tenth of the work of the textbook double sum.
"""

import math
from base64 import b64encode
from dataclasses import dataclass
from operator import mul

EDGE_MAX = 100

Plane = list[list[float]]


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
    means = [_half_up(sum(map(mul, rgba[i::4], alphas)) / weight) for i in range(3)]
    return "#" + bytes(means).hex()


def _planes(width: int, height: int, rgba: bytes) -> tuple[list[Plane], bool]:
    """Luminance, yellow-blue, red-green and alpha; transparent parts take the mean colour."""
    alphas = [a / 255 for a in rgba[3::4]]
    weight = sum(alphas)
    opaque = weight >= width * height
    channels: list[list[float]] = []
    for values in (rgba[0::4], rgba[1::4], rgba[2::4]):
        mean = sum(map(mul, values, alphas)) / (255 * weight) if weight else 0.0
        channels.append([mean * (1 - a) + a * v / 255 for v, a in zip(values, alphas, strict=True)])
    light: list[float] = []
    yellow: list[float] = []
    red: list[float] = []
    for r, g, b in zip(*channels, strict=True):
        light.append((r + g + b) / 3)
        yellow.append((r + g) / 2 - b)
        red.append(r - g)
    rows = [
        [plane[y * width : (y + 1) * width] for y in range(height)]
        for plane in (light, yellow, red, alphas)
    ]
    return rows, opaque


def _transform(plane: Plane, across: int, down: int) -> _Channel:
    """The lowest frequencies, those with cx * down < across * (down - cy)."""
    height, width = len(plane), len(plane[0])
    waves_x, waves_y = _cosines(width, across), _cosines(height, down)
    columns = [[sum(map(mul, row, wave)) for row in plane] for wave in waves_x]
    found = [
        sum(map(mul, columns[cx], waves_y[cy])) / (width * height)
        for cy in range(down)
        for cx in range(across)
        if cx * down < across * (down - cy)
    ]
    mean, waves = found[0], found[1:]
    scale = max((abs(wave) for wave in waves), default=0.0)
    if scale:
        waves = [0.5 + 0.5 / scale * wave for wave in waves]
    return _Channel(mean, waves, scale)


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
