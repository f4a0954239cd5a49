"""Photos come out upright, whatever way the camera was held."""
# pyright: reportUnknownMemberType=false
# (Pillow's annotations name numpy, which is not installed.)

import pytest
from PIL import Image

from adapters.sandbox.engine import SandboxedEngine
from domain.recipe import Fit, OutputFormat
from tests.images.comparing import difference
from tests.images.drawing import CONTENT_TYPES, encoded, scene
from tests.images.rendering import one, render

pytestmark = pytest.mark.anyio
T = Image.Transpose
# How the camera held a scene that a viewer must turn by orientation n (EXIF 2.32, tag 0x0112).
HELD = {
    1: None,
    2: T.FLIP_LEFT_RIGHT,
    3: T.ROTATE_180,
    4: T.FLIP_TOP_BOTTOM,
    5: T.TRANSPOSE,
    6: T.ROTATE_90,
    7: T.TRANSVERSE,
    8: T.ROTATE_270,
}


def held(number: int, width: int = 640, height: int = 400) -> Image.Image:
    turn = HELD[number]
    picture = scene(width, height)
    return picture.transpose(turn) if turn is not None else picture


def exif(number: int) -> bytes:
    tags = Image.Exif()
    tags[0x0112] = number
    return tags.tobytes()


@pytest.mark.parametrize("number", sorted(HELD))
@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "AVIF", "TIFF"])
async def test_every_orientation_of_every_format_comes_out_upright(
    engine: SandboxedEngine, form: str, number: int
) -> None:
    data = encoded(held(number), form, exif=exif(number))
    rendered = await render(engine, data, CONTENT_TYPES[form], one(320, 320))
    assert (rendered.rendering.width, rendered.rendering.height) == (640, 400)
    assert difference(rendered.image(), scene(640, 400).resize((320, 200))) < 5


@pytest.mark.parametrize("number", [3, 6])
async def test_a_crop_is_taken_from_the_upright_picture(
    engine: SandboxedEngine, number: int
) -> None:
    data = encoded(held(number), "JPEG", exif=exif(number))
    rendered = await render(engine, data, "image/jpeg", one(100, 200, fit=Fit.COVER))
    expected = scene(640, 400).resize((100, 200), box=(220, 0, 420, 400))
    assert difference(rendered.image(), expected) < 5


async def test_orientation_is_found_in_xmp_as_well(engine: SandboxedEngine) -> None:
    xmp = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf tiff:Orientation="6"/></x:xmpmeta>'
    data = encoded(held(6), "JPEG", xmp=xmp)
    rendered = await render(engine, data, "image/jpeg", one(320, 320))
    assert rendered.image().size == (320, 200)


@pytest.mark.parametrize("number", [0, 9, 65535])
async def test_an_orientation_that_means_nothing_turns_nothing(
    engine: SandboxedEngine, number: int
) -> None:
    data = encoded(scene(64, 40), "JPEG", exif=exif(number))
    rendered = await render(engine, data, "image/jpeg")
    assert rendered.image().size == (64, 40)


async def test_broken_exif_does_not_spoil_a_photo(engine: SandboxedEngine) -> None:
    data = encoded(scene(64, 40), "JPEG", exif=b"Exif\x00\x00MM\x00*\xff\xff\xff\xff junk")
    rendered = await render(engine, data, "image/jpeg")
    assert rendered.image().size == (64, 40)


async def test_a_turned_photo_is_not_turned_again_by_its_viewer(engine: SandboxedEngine) -> None:
    data = encoded(held(6), "JPEG", exif=exif(6))
    rendered = await render(engine, data, "image/jpeg", one(form=OutputFormat.JPEG))
    assert not rendered.image().getexif()
