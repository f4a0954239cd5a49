"""Every kind of pixel comes out as the eye expects it."""
# pyright: reportUnknownMemberType=false
# (Pillow's annotations name numpy, which is not installed.)

from io import BytesIO

import pytest
from PIL import Image, ImageCms

from adapters.sandbox.engine import SandboxedEngine
from adapters.vips.engine import VipsEngine
from domain.failure import FailureCode
from domain.recipe import OutputFormat
from tests.images.comparing import difference, middle, near, pixel
from tests.images.drawing import CONTENT_TYPES, encoded, ramp, scene
from tests.images.profiles import GREY_LINEAR, P3, SWAPPED, built_in, png_with, srgb_profile
from tests.images.rendering import code, one, render

pytestmark = pytest.mark.anyio
RED = (255, 0, 0, 255)


async def rendered(
    engine: SandboxedEngine, data: bytes, form: str, background: str = "#ffffff"
) -> Image.Image:
    result = await render(engine, data, CONTENT_TYPES[form], one(64, 64, background=background))
    return result.image()


@pytest.mark.parametrize("form", sorted(CONTENT_TYPES))
async def test_colours_survive_every_format(engine: SandboxedEngine, form: str) -> None:
    picture = await rendered(engine, encoded(scene(64, 64), form), form)
    assert difference(picture, scene(64, 64)) < 5


@pytest.mark.parametrize(
    ("mode", "form"),
    [("1", "PNG"), ("1", "TIFF"), ("L", "PNG"), ("L", "JPEG"), ("L", "TIFF"), ("L", "WEBP")],
)
async def test_grey_stays_grey(engine: SandboxedEngine, mode: str, form: str) -> None:
    bars = Image.new("L", (64, 64), 0)
    bars.paste(255, (32, 0, 64, 64))
    picture = await rendered(engine, encoded(bars.convert(mode), form), form)
    assert near(pixel(picture, 0.1, 0.5), (0, 0, 0, 255))
    assert near(pixel(picture, 0.9, 0.5), (255, 255, 255, 255))


@pytest.mark.parametrize("form", ["PNG", "TIFF"])
async def test_sixteen_bits_are_scaled_not_clipped(engine: SandboxedEngine, form: str) -> None:
    row = b"".join((x * 1040).to_bytes(2, "little") for x in range(64))
    deep = Image.frombytes("I;16", (64, 64), row * 64)
    picture = await rendered(engine, encoded(deep, form), form)
    for x in (0.0, 0.25, 0.5, 0.75, 1.0):
        grey = int(x * 63) * 1040 // 257
        assert near(pixel(picture, x, 0.5), (grey, grey, grey, 255), 2)


@pytest.mark.parametrize("largest", [1.0, 255.0, 1000.0])
async def test_floats_are_scaled_to_what_is_visible(
    engine: SandboxedEngine, largest: float
) -> None:
    floats = Image.new("F", (64, 64), 0.0)
    floats.paste(largest, (32, 0, 64, 64))
    picture = await rendered(engine, encoded(floats, "TIFF"), "TIFF")
    assert near(pixel(picture, 0.1, 0.5), (0, 0, 0, 255))
    assert near(pixel(picture, 0.9, 0.5), (255, 255, 255, 255))


@pytest.mark.parametrize("form", ["PNG", "GIF", "TIFF"])
async def test_palettes_become_colours(engine: SandboxedEngine, form: str) -> None:
    picture = await rendered(engine, encoded(scene(64, 64).quantize(16), form), form)
    assert difference(picture, scene(64, 64)) < 3


@pytest.mark.parametrize("form", ["PNG", "GIF"])
async def test_a_transparent_palette_entry_stays_transparent(
    engine: SandboxedEngine, form: str
) -> None:
    palette = Image.new("P", (64, 64), 0)
    palette.putpalette([0, 255, 0, 255, 0, 0])
    palette.paste(1, (32, 0, 64, 64))
    picture = await rendered(engine, encoded(palette, form, transparency=0), form)
    assert pixel(picture, 0.1, 0.5)[3] == 0
    assert near(pixel(picture, 0.9, 0.5), RED)


async def test_a_palette_with_degrees_of_transparency_keeps_them(engine: SandboxedEngine) -> None:
    palette = Image.new("P", (64, 64), 0)
    palette.putpalette([255, 0, 0])
    picture = await rendered(engine, encoded(palette, "PNG", transparency=b"\x80"), "PNG")
    assert near(middle(picture), (255, 0, 0, 128))


@pytest.mark.parametrize(("mode", "key"), [("RGB", (0, 255, 0)), ("L", 150)])
async def test_a_colour_that_stands_for_transparent_does(
    engine: SandboxedEngine, mode: str, key: object
) -> None:
    flat = Image.new("RGB", (64, 64), (0, 255, 0)).convert(mode)
    flat.paste("white", (32, 0, 64, 64))
    picture = await rendered(engine, encoded(flat, "PNG", transparency=key), "PNG")
    assert pixel(picture, 0.1, 0.5)[3] == 0
    assert near(pixel(picture, 0.9, 0.5), (255, 255, 255, 255))


@pytest.mark.parametrize(("form", "mode"), [("PNG", "RGBA"), ("PNG", "LA"), ("WEBP", "RGBA")])
async def test_alpha_is_kept_and_edges_are_not_stained(
    engine: SandboxedEngine, form: str, mode: str
) -> None:
    clear_black = Image.new("RGBA", (256, 256), (0, 0, 0, 0))
    clear_black.paste((255, 255, 255, 255), (0, 0, 128, 256))
    data = encoded(clear_black.convert(mode), form, **({"exact": True} if form == "WEBP" else {}))
    picture = await rendered(engine, data, form)
    assert pixel(picture, 0.9, 0.5)[3] == 0
    edge = [pixel(picture, x / 63, 0.5) for x in range(64)]
    assert all(min(colour[:3]) > 240 for colour in edge if colour[3] > 16)


async def test_alpha_is_flattened_on_the_background_where_the_format_has_none(
    engine: SandboxedEngine,
) -> None:
    half = Image.new("RGBA", (64, 64), (255, 0, 0, 128))
    recipe = one(form=OutputFormat.JPEG, background="#0000ff")
    result = await render(engine, encoded(half, "PNG"), "image/png", recipe)
    assert near(middle(result.image()), (128, 0, 127, 255))


async def test_cmyk_without_a_profile_looks_like_ink(engine: SandboxedEngine) -> None:
    red = Image.new("CMYK", (64, 64), (0, 255, 255, 0))
    for form in ("JPEG", "TIFF"):
        assert near(middle(await rendered(engine, encoded(red, form), form)), RED, 45)


async def test_lab_becomes_colours(engine: SandboxedEngine) -> None:
    lab = ImageCms.profileToProfile(
        scene(64, 64),
        BytesIO(srgb_profile()),
        built_in("LAB"),
        outputMode="LAB",
    )
    assert lab is not None
    if isinstance(engine, VipsEngine):  # libvips reads CIELAB of 16 bits only
        found = await code(engine, encoded(lab, "TIFF"), "image/tiff")
        assert found is FailureCode.UNSUPPORTED_FORMAT
        return
    picture = await rendered(engine, encoded(lab, "TIFF"), "TIFF")
    assert difference(picture, scene(64, 64)) < 4


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "AVIF", "TIFF"])
async def test_wide_gamut_is_brought_to_srgb_by_colour_management(
    engine: SandboxedEngine, form: str
) -> None:
    tone = Image.new("RGB", (64, 64), (200, 100, 50))
    data = encoded(tone, form, icc_profile=P3, **({"quality": 95} if form != "PNG" else {}))
    picture = await rendered(engine, data, form)
    # By hand: to light with gamma 2.2, the matrix from P3 to sRGB, and the curve of sRGB.
    assert near(middle(picture), (216, 93, 24, 255), 5)
    assert "icc_profile" not in picture.info


async def test_colours_with_alpha_follow_the_profile_too(engine: SandboxedEngine) -> None:
    tone = Image.new("RGBA", (64, 64), (200, 100, 50, 128))
    picture = await rendered(engine, encoded(tone, "PNG", icc_profile=P3), "PNG")
    assert near(middle(picture), (216, 93, 24, 128), 3)


async def test_a_strange_profile_is_obeyed(engine: SandboxedEngine) -> None:
    tone = Image.new("RGB", (64, 64), (250, 10, 10))
    picture = await rendered(engine, encoded(tone, "PNG", icc_profile=SWAPPED), "PNG")
    red, green, blue, _ = middle(picture)
    assert green > 200
    assert max(red, blue) < 60


async def test_a_grey_profile_is_obeyed(engine: SandboxedEngine) -> None:
    grey = Image.new("L", (64, 64), 128)
    picture = await rendered(engine, encoded(grey, "PNG", icc_profile=GREY_LINEAR), "PNG")
    assert near(middle(picture), (188, 188, 188, 255))


@pytest.mark.parametrize("profile", [b"junk" * 50, P3[:200], GREY_LINEAR])
async def test_a_profile_that_cannot_be_right_counts_as_none(
    engine: SandboxedEngine, profile: bytes
) -> None:
    data = encoded(scene(64, 64), "JPEG", icc_profile=profile, quality=95)
    assert difference(await rendered(engine, data, "JPEG"), scene(64, 64)) < 4


async def test_an_srgb_profile_changes_nothing(engine: SandboxedEngine) -> None:
    data = encoded(ramp(64, 64), "PNG", icc_profile=srgb_profile())
    assert difference(await rendered(engine, data, "PNG"), ramp(64, 64)) < 0.01


async def test_a_stated_gamma_is_obeyed(engine: SandboxedEngine) -> None:
    linear = png_with(encoded(Image.new("RGB", (64, 64), (55, 55, 55)), "PNG"), gamma=1.0)
    assert near(middle(await rendered(engine, linear, "PNG")), (128, 128, 128, 255), 3)


async def test_the_usual_gamma_changes_nothing(engine: SandboxedEngine) -> None:
    usual = png_with(encoded(ramp(64, 64), "PNG"), gamma=0.45455)
    assert difference(await rendered(engine, usual, "PNG"), ramp(64, 64)) < 0.01


async def test_the_first_page_of_a_tiff_is_the_photo(engine: SandboxedEngine) -> None:
    pages = BytesIO()
    scene(64, 64).save(
        pages, "TIFF", save_all=True, append_images=[Image.new("1", (2000, 2000))] * 20
    )
    picture = await rendered(engine, pages.getvalue(), "TIFF")
    assert difference(picture, scene(64, 64)) < 1
