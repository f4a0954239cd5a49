"""Draws docs/images.png: what both engines make of every orientation, mode and profile.

python -m tests.images.contact_sheet docs/images.png
"""
# pyright: reportUnknownMemberType=false
# (Pillow's annotations name numpy, which is not installed.)

import asyncio
import sys
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

from PIL import Image, ImageDraw, ImageSequence

from adapters.pillow.engine import PillowEngine
from adapters.sandbox.engine import SandboxedEngine
from adapters.vips.engine import VipsEngine
from domain.recipe import Animation, OutputFormat
from tests.images.drawing import CONTENT_TYPES, encoded, film, ramp, scene
from tests.images.profiles import GREY_LINEAR, P3, SWAPPED, png_with
from tests.images.rendering import one, render
from tests.images.test_orientation import HELD, exif, held

TILE, LABEL, COLUMNS = 96, 14, 8
Sample = tuple[str, str, bytes]


def samples() -> Iterator[Sample]:
    """A label, a format and a file."""
    for number in HELD:
        yield f"turned {number}", "JPEG", encoded(held(number), "JPEG", exif=exif(number))
    colours, grey = ramp(192, 192), ramp(192, 192).convert("L")
    clear = scene(192, 192).convert("RGBA")
    clear.putalpha(Image.radial_gradient("L").resize((192, 192)))
    yield "RGB", "JPEG", encoded(colours, "JPEG")
    yield "CMYK", "JPEG", encoded(colours.convert("CMYK"), "JPEG", quality=95)
    yield "grey", "PNG", encoded(grey, "PNG")
    yield "16 bit", "PNG", encoded(_deep(grey), "PNG")
    yield "1 bit", "PNG", encoded(grey.convert("1"), "PNG")
    yield "palette", "GIF", encoded(colours.quantize(32), "GIF")
    yield "alpha", "PNG", encoded(clear, "PNG")
    yield "grey+alpha", "PNG", encoded(clear.convert("LA"), "PNG")
    yield "Display P3", "PNG", encoded(colours, "PNG", icc_profile=P3)
    yield "red=green", "PNG", encoded(colours, "PNG", icc_profile=SWAPPED)
    yield "linear grey", "PNG", encoded(grey, "PNG", icc_profile=GREY_LINEAR)
    yield "gamma 1", "PNG", png_with(encoded(colours, "PNG"), gamma=1.0)
    for form in ("WEBP", "AVIF", "TIFF", "GIF"):
        yield form, form, encoded(scene(192, 144), form)


def _deep(grey: Image.Image) -> Image.Image:
    return grey.convert("I").point(lambda value: value * 257).convert("I;16")


async def tiles(engine: SandboxedEngine) -> list[tuple[str, Image.Image]]:
    """Every sample, rendered, and the frames of an animation."""
    made = [
        (label, (await render(engine, data, CONTENT_TYPES[form], one(TILE, TILE))).image())
        for label, form, data in samples()
    ]
    recipe = one(TILE, TILE, form=OutputFormat.WEBP, animation=Animation.KEEP)
    moving = await render(engine, film("GIF", 4), "image/gif", recipe)
    frames = ImageSequence.Iterator(Image.open(BytesIO(moving.data["only"])))
    made += [(f"frame {number}", frame.copy()) for number, frame in enumerate(frames, 1)]
    await engine.close()
    return made


def sheet(name: str, made: list[tuple[str, Image.Image]]) -> Image.Image:
    rows = -(-len(made) // COLUMNS)
    size = COLUMNS * (TILE + 4), rows * (TILE + LABEL + 4) + LABEL + 4
    paper = Image.new("RGB", size, (225, 225, 235))
    draw = ImageDraw.Draw(paper)
    draw.text((4, 2), name, fill="black")
    for number, (label, picture) in enumerate(made):
        left = number % COLUMNS * (TILE + 4) + 2
        top = number // COLUMNS * (TILE + LABEL + 4) + LABEL + 6
        draw.text((left, top), label, fill="black")
        paper.paste(picture.convert("RGB"), (left, top + LABEL), picture.convert("RGBA"))
    return paper


async def main(target: str) -> None:
    sheets = [
        sheet("Pillow engine", await tiles(PillowEngine())),
        sheet("libvips engine", await tiles(VipsEngine())),
    ]
    whole = Image.new("RGB", (sheets[0].width, sum(each.height for each in sheets)))
    top = 0
    for each in sheets:
        whole.paste(each, (0, top))
        top += each.height
    whole.save(Path(target), optimize=True)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
