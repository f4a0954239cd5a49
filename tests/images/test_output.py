"""What comes out: sizes, formats, alpha, animation, placeholder, and no metadata."""
# pyright: reportUnknownMemberType=false
# (Pillow's annotations name numpy, which is not installed.)

from io import BytesIO

import pytest
from PIL import Image, ImageSequence

from adapters.sandbox.containers import sniff
from adapters.sandbox.engine import SandboxedEngine
from adapters.vips.engine import VipsEngine
from domain.recipe import Animation, Fit, OutputFormat, Recipe, VariantSpec, default_recipe
from tests.images.comparing import difference, middle, near, pixel
from tests.images.drawing import CONTENT_TYPES, encoded, film, ramp, scene
from tests.images.profiles import P3
from tests.images.rendering import Rendered, one, render

pytestmark = pytest.mark.anyio
SECRET = b"GPS 48.8584 N"


def litter(form: str) -> bytes:
    """A photo that carries every kind of metadata its format has room for."""
    exif = Image.Exif()
    exif[0x010E] = SECRET.decode()
    exif[0x8298] = "Somebody else"
    options: dict[str, object] = {"exif": exif.tobytes(), "icc_profile": P3}
    if form != "GIF":
        options["xmp"] = b"<x:xmpmeta>" + SECRET + b"</x:xmpmeta>"
    options["comment"] = SECRET
    return encoded(scene(200, 100), form, **options)


@pytest.mark.parametrize("form", list(OutputFormat))
async def test_each_output_format_is_what_it_says(
    engine: SandboxedEngine, form: OutputFormat
) -> None:
    rendered = await render(engine, encoded(scene(128, 128), "PNG"), "image/png", one(form=form))
    file = rendered.files["only"]
    expected = {
        OutputFormat.AUTO: "image/jpeg",
    }.get(form, f"image/{form.value}")
    assert file.content_type == expected
    kind = sniff(rendered.data["only"])
    assert kind is not None
    assert f"image/{kind.value.lower()}" == expected
    assert difference(rendered.image(), scene(128, 128).resize((64, 64))) < 4
    assert file.bytes == len(rendered.data["only"])


async def test_auto_keeps_alpha_where_there_is_some(engine: SandboxedEngine) -> None:
    clear = Image.new("RGBA", (64, 64), (10, 200, 10, 100))
    rendered = await render(engine, encoded(clear, "PNG"), "image/png", one(form=OutputFormat.AUTO))
    assert rendered.files["only"].content_type == "image/webp"
    assert near(middle(rendered.image()), (10, 200, 10, 100), 8)


async def test_auto_sees_through_alpha_that_is_opaque(engine: SandboxedEngine) -> None:
    opaque = encoded(scene(64, 64).convert("RGBA"), "PNG")
    rendered = await render(engine, opaque, "image/png", one(form=OutputFormat.AUTO))
    assert rendered.files["only"].content_type == "image/jpeg"


@pytest.mark.parametrize("form", [OutputFormat.WEBP, OutputFormat.PNG, OutputFormat.AVIF])
async def test_alpha_is_kept_where_the_format_can(
    engine: SandboxedEngine, form: OutputFormat
) -> None:
    clear = Image.new("RGBA", (64, 64), (10, 200, 10, 100))
    rendered = await render(engine, encoded(clear, "PNG"), "image/png", one(form=form))
    assert near(middle(rendered.image()), (10, 200, 10, 100), 8)


async def test_the_default_recipe_makes_four_sizes_largest_first(engine: SandboxedEngine) -> None:
    data = encoded(ramp(3000, 2000), "JPEG")
    rendered = await render(engine, data, "image/jpeg", default_recipe())
    sizes = {name: (file.width, file.height) for name, file in rendered.files.items()}
    assert sizes == {
        "large": (2048, 1365),
        "medium": (1024, 683),
        "small": (512, 341),
        "thumb": (256, 171),
    }
    assert list(sizes) == ["large", "medium", "small", "thumb"]
    for name, size in sizes.items():
        assert rendered.image(name).size == size
        assert difference(rendered.image(name), ramp(*size)) < 3
    assert (rendered.rendering.width, rendered.rendering.height) == (3000, 2000)
    assert rendered.rendering.format == "JPEG"


async def test_nothing_is_ever_enlarged(engine: SandboxedEngine) -> None:
    data = encoded(scene(300, 100), "PNG")
    rendered = await render(engine, data, "image/png", default_recipe())
    sizes = {name: (file.width, file.height) for name, file in rendered.files.items()}
    assert sizes == {
        "large": (300, 100),
        "medium": (300, 100),
        "small": (300, 100),
        "thumb": (256, 85),
    }


@pytest.mark.parametrize("size", [(1, 1), (1, 5000), (5000, 1), (3, 2)])
async def test_extreme_shapes_keep_at_least_one_pixel(
    engine: SandboxedEngine, size: tuple[int, int]
) -> None:
    rendered = await render(
        engine, encoded(Image.new("RGB", size, "teal"), "PNG"), "image/png", default_recipe()
    )
    assert min(rendered.image("thumb").size) >= 1
    assert near(middle(rendered.image("thumb")), (0, 128, 128, 255), 8)


@pytest.mark.parametrize(
    ("bounds", "expected", "box"),
    [
        ((100, 100), (100, 100), (100, 0, 300, 200)),
        ((100, 50), (100, 50), (0, 0, 400, 200)),
        ((50, 100), (50, 100), (150, 0, 250, 200)),
        ((1000, 100), (400, 100), (0, 50, 400, 150)),
        ((1000, 1000), (400, 200), (0, 0, 400, 200)),
    ],
)
async def test_cover_fills_the_bounds_around_the_centre(
    engine: SandboxedEngine,
    bounds: tuple[int, int],
    expected: tuple[int, int],
    box: tuple[int, int, int, int],
) -> None:
    data = encoded(scene(400, 200), "PNG")
    rendered = await render(engine, data, "image/png", one(*bounds, fit=Fit.COVER))
    assert rendered.image().size == expected
    assert difference(rendered.image(), scene(400, 200).resize(expected, box=box)) < 3


async def test_crops_and_whole_pictures_can_be_mixed(engine: SandboxedEngine) -> None:
    recipe = Recipe(
        name="mixed",
        variants=(
            VariantSpec(name="tiny", width=16, height=16, fit=Fit.COVER, format=OutputFormat.PNG),
            VariantSpec(name="wide", width=640, height=640, format=OutputFormat.PNG),
            VariantSpec(name="tile", width=300, height=300, fit=Fit.COVER, format=OutputFormat.PNG),
        ),
    )
    rendered = await render(engine, encoded(scene(1600, 800), "JPEG"), "image/jpeg", recipe)
    assert rendered.image("wide").size == (640, 320)
    expected = scene(1600, 800).resize((300, 300), box=(400, 0, 1200, 800))
    assert difference(rendered.image("tile"), expected) < 4
    assert difference(rendered.image("tiny"), expected.resize((16, 16))) < 8


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF", "GIF"])
@pytest.mark.parametrize("output", [f for f in OutputFormat if f is not OutputFormat.AUTO])
async def test_metadata_is_dropped(
    engine: SandboxedEngine, form: str, output: OutputFormat
) -> None:
    rendered = await render(engine, litter(form), CONTENT_TYPES[form], one(form=output))
    assert SECRET not in rendered.data["only"]
    assert b"Somebody else" not in rendered.data["only"]
    leftover = rendered.image().info.keys() & {"exif", "icc_profile", "xmp", "comment"}
    assert not leftover


@pytest.mark.parametrize("output", [f for f in OutputFormat if f is not OutputFormat.AUTO])
async def test_a_copyright_line_is_written_into_every_variant(
    engine: SandboxedEngine, output: OutputFormat
) -> None:
    recipe = one(form=output, copyright_line="(c) 2026 Zoe")
    rendered = await render(engine, litter("JPEG"), "image/jpeg", recipe)
    exif = rendered.image().getexif()
    assert exif[0x8298] == "(c) 2026 Zoe"
    # Resolution, orientation 1 and the like are allowed: they say nothing about the photo.
    assert not exif.keys() - {0x8298, 0x0112, 0x011A, 0x011B, 0x0128, 0x0213, 0x8769}
    assert exif.get(0x0112, 1) == 1
    assert SECRET not in rendered.data["only"]


@pytest.mark.parametrize("form", ["GIF", "WEBP", "PNG", "AVIF"])
async def test_the_first_frame_stands_for_an_animation(engine: SandboxedEngine, form: str) -> None:
    recipe = one(form=OutputFormat.WEBP)
    rendered = await render(engine, film(form, 4), CONTENT_TYPES[form], recipe)
    assert getattr(rendered.image(), "n_frames", 1) == 1
    assert difference(rendered.image(), scene(64, 64)) < 6


@pytest.mark.parametrize("output", [OutputFormat.WEBP, OutputFormat.AUTO])
@pytest.mark.parametrize("form", ["GIF", "WEBP", "PNG", "AVIF"])
async def test_an_animation_is_kept_where_the_recipe_says_so(
    engine: SandboxedEngine, form: str, output: OutputFormat
) -> None:
    if isinstance(engine, VipsEngine) and form in ("PNG", "AVIF"):
        return  # libvips reads the first frame of these; the next test holds it to that
    recipe = one(32, 32, form=output, animation=Animation.KEEP)
    rendered = await render(engine, film(form, 4), CONTENT_TYPES[form], recipe)
    assert rendered.files["only"].content_type == "image/webp"
    moving = Image.open(BytesIO(rendered.data["only"]))
    frames = [frame.copy() for frame in ImageSequence.Iterator(moving)]
    assert len(frames) == 4
    for number, frame in enumerate(frames):
        expected = scene(64, 64).rotate(90 * number).resize((32, 32))
        assert difference(frame, expected) < 8
        assert frame.info["duration"] == 100 + 10 * number


@pytest.mark.parametrize("form", ["PNG", "AVIF"])
async def test_an_animation_that_the_library_cannot_read_gives_its_first_frame(
    engine: SandboxedEngine, form: str
) -> None:
    recipe = one(form=OutputFormat.WEBP, animation=Animation.KEEP)
    rendered = await render(engine, film(form, 4), CONTENT_TYPES[form], recipe)
    assert difference(rendered.image(), scene(64, 64)) < 6


async def test_other_formats_take_the_first_frame_of_a_kept_animation(
    engine: SandboxedEngine,
) -> None:
    recipe = one(form=OutputFormat.JPEG, animation=Animation.KEEP)
    rendered = await render(engine, film("GIF", 4), "image/gif", recipe)
    assert difference(rendered.image(), scene(64, 64)) < 6


async def test_a_kept_animation_keeps_its_transparency(engine: SandboxedEngine) -> None:
    frames = [Image.new("RGBA", (64, 64), (0, 0, 0, 0)) for _ in range(3)]
    for number, frame in enumerate(frames):
        frame.paste((255, 0, 0, 255), (number * 20, 0, number * 20 + 20, 64))
    data = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:], disposal=2)
    recipe = one(form=OutputFormat.WEBP, animation=Animation.KEEP)
    rendered = await render(engine, data, "image/gif", recipe)
    moving = Image.open(BytesIO(rendered.data["only"]))
    moving.seek(2)
    assert pixel(moving, 0.1, 0.5)[3] == 0
    assert near(pixel(moving, 0.75, 0.5), (255, 0, 0, 255), 16)


async def test_the_placeholder_resembles_the_picture(engine: SandboxedEngine) -> None:
    flat = Image.new("RGB", (300, 200), (10, 120, 200))
    rendered = await render(engine, encoded(flat, "PNG"), "image/png")
    placeholder = rendered.rendering.placeholder
    assert placeholder is not None
    assert placeholder.average_color == "#0a78c8"
    assert 20 <= len(placeholder.thumbhash) <= 40


async def test_the_same_photo_gives_the_same_bytes(engine: SandboxedEngine) -> None:
    async def again() -> Rendered:
        return await render(engine, litter("JPEG"), "image/jpeg", default_recipe())

    assert (await again()).data == (await again()).data


async def test_the_time_of_every_stage_is_told(engine: SandboxedEngine) -> None:
    rendered = await render(engine, litter("JPEG"), "image/jpeg")
    stages = rendered.rendering.stages
    assert stages.keys() == {
        "start",
        "header",
        "admission",
        "decode",
        "resize.only",
        "encode.only",
        "placeholder",
    }
    assert all(0 <= seconds < 10 for seconds in stages.values())
