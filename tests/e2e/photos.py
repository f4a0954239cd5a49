"""Photos drawn in code, no two alike, and small enough that many fit into a test."""

import random

from tests.images.drawing import encoded, scene


def draw(number: int, *, width: int = 640, height: int = 480) -> bytes:
    """A JPEG of its own for each number."""
    picture = scene(width, height)
    colours = random.Random(number)
    for _ in range(8):
        left, top = colours.randrange(width - 40), colours.randrange(height - 40)
        colour = tuple(colours.randrange(256) for _ in range(3))
        picture.paste(colour, (left, top, left + 40, top + 40))
    return encoded(picture, "JPEG", quality=85)
