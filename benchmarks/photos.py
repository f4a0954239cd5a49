"""The photos that everybody gets: real ones where they are given, else pictures drawn in code."""

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

from PIL import Image, ImageFilter

PIXELS_MIN, PIXELS_MAX = 7_900_000, 12_300_000
DRAWN = ((3264, 2448), (2448, 3264), (4000, 3000), (4032, 3024))
BIG = (6000, 4000)


def photos(given: Path | None, folder: Path) -> list[Path]:
    """JPEGs of 8 to 12 megapixels: those in the folder `given`, or new ones in `folder`."""
    if given is not None:
        found = [path for path in sorted(given.glob("*.jpg")) if _fits(path)]
        if found:
            return found
    return [_draw(size, number, folder) for number, size in enumerate(DRAWN)]


def big_photo(sources: Sequence[Path], folder: Path) -> Path:
    """One of 24 megapixels, scaled up from the first."""
    path = folder / "24mp.jpg"
    with Image.open(sources[0]) as source:
        _scaled(source.convert("RGB"), BIG).save(path, "JPEG", quality=90)
    return path


def megapixels(path: Path) -> float:
    with Image.open(path) as image:
        return image.width * image.height / 1e6


def _fits(path: Path) -> bool:
    return PIXELS_MIN <= megapixels(path) * 1e6 <= PIXELS_MAX


def _draw(size: tuple[int, int], seed: int, folder: Path) -> Path:
    """Soft shapes with fine grain on top: compresses about as a photo of a camera does."""
    chance = random.Random(seed)  # noqa: S311 - a picture, no secret
    width, height = size[0] // 64, size[1] // 64
    small = Image.frombytes("RGB", (width, height), chance.randbytes(3 * width * height))
    soft = _scaled(small, size).filter(ImageFilter.GaussianBlur(2))
    grain = Image.effect_noise(size, 24).convert("RGB")
    path = folder / f"drawn-{seed}.jpg"
    Image.blend(soft, grain, 0.25).save(path, "JPEG", quality=92)
    return path


def _scaled(picture: Image.Image, size: tuple[int, int]) -> Image.Image:
    return cast("Any", picture).resize(size, Image.Resampling.BICUBIC)
