"""Pictures drawn in code, and their files in every format the engines read."""
# pyright: reportUnknownMemberType=false
# (Pillow's annotations name numpy, which is not installed.)

from io import BytesIO
from typing import Any

from PIL import Image, ImageChops, ImageDraw

CONTENT_TYPES = {
    "JPEG": "image/jpeg",
    "PNG": "image/png",
    "WEBP": "image/webp",
    "GIF": "image/gif",
    "AVIF": "image/avif",
    "TIFF": "image/tiff",
}
CORNERS = {"red": (255, 0, 0), "green": (0, 160, 0), "blue": (0, 0, 255), "white": (255, 255, 255)}


def encoded(picture: Image.Image, form: str, **options: Any) -> bytes:
    """The picture as a file."""
    buffer = BytesIO()
    picture.save(buffer, form, **options)
    return buffer.getvalue()


def scene(width: int, height: int) -> Image.Image:
    """Four corners of different colours around a grey disc: no turn of it looks like another."""
    picture = Image.new("RGB", (width, height), CORNERS["white"])
    draw = ImageDraw.Draw(picture)
    half = width // 2, height // 2
    draw.rectangle((0, 0, half[0] - 1, half[1] - 1), CORNERS["red"])
    draw.rectangle((half[0], 0, width, half[1] - 1), CORNERS["green"])
    draw.rectangle((0, half[1], half[0] - 1, height), CORNERS["blue"])
    radius = min(width, height) // 4
    draw.ellipse(
        (half[0] - radius, half[1] - radius, half[0] + radius, half[1] + radius), (90, 90, 90)
    )
    return picture


def ramp(width: int, height: int) -> Image.Image:
    """Red grows to the right, green downwards, blue along the diagonal."""
    across = Image.linear_gradient("L").rotate(90).resize((width, height))
    down = Image.linear_gradient("L").resize((width, height))
    return Image.merge("RGB", (across, down, ImageChops.add(across, down, 2)))


def film(form: str, frames: int) -> bytes:
    """The scene, turned by a quarter from frame to frame, each 10 ms longer than the last."""
    pictures = [scene(64, 64).rotate(90 * number) for number in range(frames)]
    durations = [100 + 10 * number for number in range(frames)]
    return encoded(
        pictures[0], form, save_all=True, append_images=pictures[1:], duration=durations, loop=0
    )
