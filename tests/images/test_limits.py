"""Bad input ends in the code that fits, with a sentence that says what to do, before it costs."""

import struct
import zlib

import pytest
from PIL import Image

from adapters.sandbox.engine import SandboxedEngine
from adapters.sandbox.limits import MIB, EngineLimits
from domain.failure import FailureCode
from domain.recipe import Animation
from tests.images.drawing import CONTENT_TYPES, encoded, film, scene
from tests.images.rendering import MakeEngine, code, cpu_seconds, failure, one, render

pytestmark = pytest.mark.anyio


def bomb(width: int, height: int) -> bytes:
    """65 bytes that promise a huge PNG."""

    def chunk(name: bytes, body: bytes) -> bytes:
        return (
            struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
        )

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return (
        b"\x89PNG\r\n\x1a\n"
        + header
        + chunk(b"IDAT", b"\x78\x9c\x03\x00\x00\x00\x00\x01")
        + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize("form", sorted(CONTENT_TYPES))
@pytest.mark.parametrize("part", [0.2, 0.5, 0.9])
async def test_a_file_cut_short_is_truncated(
    engine: SandboxedEngine, form: str, part: float
) -> None:
    data = encoded(scene(400, 300), form)
    cut = data[: int(len(data) * part)]
    assert await code(engine, cut, CONTENT_TYPES[form]) is FailureCode.IMAGE_TRUNCATED


@pytest.mark.parametrize("form", ["GIF", "WEBP", "PNG", "AVIF"])
async def test_an_animation_cut_short_is_truncated_although_its_first_frame_is_there(
    engine: SandboxedEngine, form: str
) -> None:
    data = film(form, 6)
    assert await code(engine, data[: len(data) // 2], CONTENT_TYPES[form]) is (
        FailureCode.IMAGE_TRUNCATED
    )


@pytest.mark.parametrize("form", ["PNG", "WEBP", "GIF", "AVIF", "TIFF"])
async def test_a_file_with_holes_is_corrupt(engine: SandboxedEngine, form: str) -> None:
    options = {"TIFF": {"compression": "tiff_deflate"}, "WEBP": {"lossless": True}}.get(form, {})
    data = bytearray(encoded(scene(400, 300), form, **options))
    middle = len(data) // 2
    start = 8 if form == "TIFF" else 20 if form == "GIF" else middle
    data[start : middle + len(data) // 4] = b"\xa5" * (middle + len(data) // 4 - start)
    assert await code(engine, bytes(data), CONTENT_TYPES[form]) is FailureCode.IMAGE_CORRUPT


@pytest.mark.parametrize("declared", sorted(set(CONTENT_TYPES.values())))
async def test_the_bytes_decide_and_a_false_declaration_is_named(
    engine: SandboxedEngine, declared: str
) -> None:
    form = "PNG" if declared != "image/png" else "JPEG"
    failed = await failure(engine, encoded(scene(64, 64), form), declared)
    assert failed.code is FailureCode.CONTENT_TYPE_MISMATCH
    assert form in failed.detail
    assert declared in failed.detail


@pytest.mark.parametrize(
    ("data", "word"),
    [
        (b"", "empty"),
        (b"hello", "no known image format"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n", "PostScript"),
        (b"8BPS\x00\x01" + b"\x00" * 40, "Photoshop"),
        (b"BM" + b"\x00" * 60, "BMP"),
        (b"\x00\x00\x00\x18ftypheic\x00\x00\x00\x00mif1heic", "HEIC"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "SVG"),
        (b"SIMPLE  =                    T", "no known image format"),
    ],
)
async def test_other_formats_are_refused_unopened(
    engine: SandboxedEngine, data: bytes, word: str
) -> None:
    failed = await failure(engine, data, "image/jpeg")
    assert failed.code is FailureCode.UNSUPPORTED_FORMAT
    assert word in failed.detail


async def test_a_bomb_of_65_bytes_is_refused_for_next_to_no_work(engine: SandboxedEngine) -> None:
    data = bomb(20_000, 20_000)
    assert len(data) == 65
    before = cpu_seconds(engine)
    failed = await failure(engine, data, "image/png")
    assert cpu_seconds(engine) - before < 0.1
    assert failed.code is FailureCode.TOO_MANY_PIXELS


async def test_the_limit_on_pixels_is_exact(engine: SandboxedEngine) -> None:
    assert await code(engine, bomb(50_001, 1_000), "image/png") is FailureCode.TOO_MANY_PIXELS
    assert await code(engine, bomb(50_000, 1_000), "image/png") is not FailureCode.TOO_MANY_PIXELS


@pytest.mark.parametrize("animation", list(Animation))
@pytest.mark.parametrize("form", ["GIF", "WEBP", "PNG"])
async def test_pixels_are_counted_over_all_frames(
    make_engine: MakeEngine, form: str, animation: Animation
) -> None:
    engine = make_engine(EngineLimits(max_pixels=64 * 64 * 5))
    failed = await failure(engine, film(form, 6), CONTENT_TYPES[form], one(animation=animation))
    assert failed.code is FailureCode.TOO_MANY_PIXELS
    assert "6 frames" in failed.detail
    await render(engine, film(form, 5), CONTENT_TYPES[form], one(animation=animation))
    await engine.close()


async def test_frames_are_counted_too(make_engine: MakeEngine) -> None:
    engine = make_engine(EngineLimits(max_frames=5))
    assert await code(engine, film("GIF", 6), "image/gif") is FailureCode.TOO_MANY_PIXELS
    await render(engine, film("GIF", 5), "image/gif")
    await engine.close()


async def test_too_many_bytes_are_not_even_read(make_engine: MakeEngine) -> None:
    engine = make_engine(EngineLimits(max_bytes=1000))
    data = encoded(scene(640, 480), "PNG")
    assert await code(engine, data, "image/png") is FailureCode.TOO_MANY_BYTES
    await engine.close()


async def test_a_photo_that_needs_more_than_the_whole_budget_is_refused(
    make_engine: MakeEngine,
) -> None:
    engine = make_engine(EngineLimits(memory_budget_bytes=100 * MIB))
    data = encoded(Image.new("RGB", (6000, 6000)), "PNG", compress_level=1)
    failed = await failure(engine, data, "image/png")
    assert failed.code is FailureCode.TOO_MANY_PIXELS
    assert "100 MiB" in failed.detail
    await render(engine, encoded(scene(640, 480), "PNG"), "image/png")
    await engine.close()


def vast() -> bytes:
    """A picture that every engine has to decode as a whole."""
    return encoded(Image.new("P", (6000, 6000)), "GIF")


async def test_memory_that_runs_out_is_named(make_engine: MakeEngine) -> None:
    engine = make_engine(EngineLimits(address_space_bytes=150 * MIB))
    assert await code(engine, vast(), "image/gif") is FailureCode.DECODE_OUT_OF_MEMORY
    await engine.close()


async def test_time_that_runs_out_is_named(make_engine: MakeEngine) -> None:
    engine = make_engine(EngineLimits(wall_seconds=0.05))
    await engine.open()
    assert await code(engine, vast(), "image/gif") is FailureCode.DECODE_TIMEOUT
    await engine.close()
