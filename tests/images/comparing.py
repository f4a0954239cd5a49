"""How alike two pictures are."""

from PIL import Image, ImageChops, ImageStat


def difference(one: Image.Image, other: Image.Image) -> float:
    """The mean difference of a sample, 0 to 255, as RGBA."""
    assert one.size == other.size, (one.size, other.size)
    delta = ImageChops.difference(one.convert("RGBA"), other.convert("RGBA"))
    # ImageChops.difference leaves alpha 0 where both are opaque, so bands are averaged singly.
    return sum(ImageStat.Stat(delta).mean) / 4


def middle(picture: Image.Image) -> tuple[int, ...]:
    """The pixel in the middle, as RGBA."""
    return pixel(picture, 0.5, 0.5)


def pixel(picture: Image.Image, x: float, y: float) -> tuple[int, ...]:
    """The pixel at a fraction of width and height, as RGBA."""
    at = int(x * (picture.width - 1)), int(y * (picture.height - 1))
    value = picture.convert("RGBA").getpixel(at)
    assert isinstance(value, tuple)
    return value


def near(one: tuple[int, ...], other: tuple[int, ...], tolerance: int = 6) -> bool:
    """Whether every sample is within the tolerance."""
    return all(abs(a - b) <= tolerance for a, b in zip(one, other, strict=True))
