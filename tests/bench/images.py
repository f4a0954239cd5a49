"""CPU seconds a photo, bytes and sharpness of both engines against a plain Pillow script.

    python -m tests.bench.images FOLDER_OF_JPEGS

Camera JPEGs of 8 to 16 megapixels, the four default sizes, one photo at a time. CPU is user and
system time of everything: this process, the forkserver and its children. The plain script runs in
the same process, warm. Sharpness is SSIM (luminance, Gaussian window of 1.5) against one Lanczos
reduction of the fully decoded photo, before encoding.
"""
# pyright: reportUnknownMemberType=false
# (Pillow's annotations name numpy, which is not installed.)

import asyncio
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, cast

import pyvips
from PIL import Image, ImageOps

from adapters.pillow.engine import PillowEngine
from adapters.sandbox.engine import SandboxedEngine
from adapters.sandbox.geometry import place
from adapters.vips.engine import VipsEngine
from application.ports import RenderJob
from domain.recipe import OutputFormat, Recipe, VariantSpec
from tests.images.rendering import cpu_seconds

SIZES = (2048, 1024, 512, 256)
QUALITY = {OutputFormat.JPEG: 82, OutputFormat.WEBP: 80}
MEGAPIXELS = (7.9, 16.2)
ROUNDS = 2
TINY = 100
Variants = dict[int, bytes]
_vips = cast("Any", pyvips)


@dataclass(frozen=True, slots=True)
class Result:
    """What one way of doing it gave: CPU seconds a photo, and the variants of each photo."""

    cpu_seconds: float
    variants: list[Variants]


def plain(photo: bytes, form: OutputFormat) -> Variants:
    """What a team writes first: full decode, every variant from the full picture, Lanczos."""
    picture = ImageOps.exif_transpose(Image.open(BytesIO(photo))).convert("RGB")
    made: Variants = {}
    for edge in SIZES:
        variant = picture.copy()
        variant.thumbnail((edge, edge), Image.Resampling.LANCZOS)
        buffer = BytesIO()
        variant.save(buffer, form.value, quality=QUALITY[form])
        made[edge] = buffer.getvalue()
    return made


def run_plain(photos: list[bytes], form: OutputFormat) -> Result:
    plain(photos[0], form)
    began = time.process_time()
    variants = [plain(photo, form) for _ in range(ROUNDS) for photo in photos]
    return Result((time.process_time() - began) / len(variants), variants[: len(photos)])


async def run_engine(engine: SandboxedEngine, paths: list[Path], form: OutputFormat) -> Result:
    await engine.open()
    recipe = Recipe(
        name="bench",
        variants=tuple(
            VariantSpec(name=str(edge), width=edge, height=edge, format=form, quality=QUALITY[form])
            for edge in SIZES
        ),
    )
    await _render(engine, paths[0], recipe)
    before = cpu_seconds(engine)
    variants = [await _render(engine, path, recipe) for _ in range(ROUNDS) for path in paths]
    spent = cpu_seconds(engine) - before
    await engine.close()
    return Result(spent / len(variants), variants[: len(paths)])


async def _render(engine: SandboxedEngine, path: Path, recipe: Recipe) -> Variants:
    made: Variants = {}
    with TemporaryDirectory() as folder:
        job = RenderJob(source=path, folder=Path(folder), content_type="image/jpeg", recipe=recipe)
        await engine.render(job, lambda file: made.update({int(file.name): file.path.read_bytes()}))
    return made


def _luminance(picture: Image.Image) -> Any:
    grey = picture.convert("L")
    image = _vips.Image.new_from_memory(grey.tobytes(), *grey.size, 1, "uchar")
    return image.cast("float")


def ssim(one: Image.Image, other: Image.Image) -> float:
    """Wang et al., 2004, with the usual constants for 8 bits."""

    def blurred(image: Any) -> Any:
        return image.gaussblur(1.5, min_ampl=0.01, precision="float")

    x, y = _luminance(one), _luminance(other)
    mean_x, mean_y = blurred(x), blurred(y)
    var_x, var_y = blurred(x * x) - mean_x * mean_x, blurred(y * y) - mean_y * mean_y
    both = blurred(x * y) - mean_x * mean_y
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    top = (mean_x * mean_y * 2 + c1) * (both * 2 + c2)
    bottom = (mean_x * mean_x + mean_y * mean_y + c1) * (var_x + var_y + c2)
    return float((top / bottom).avg())


def sharpness(photos: list[bytes], result: Result) -> dict[int, float]:
    """Mean SSIM of each size."""
    totals = dict.fromkeys(SIZES, 0.0)
    for photo, variants in zip(photos, result.variants, strict=True):
        whole = ImageOps.exif_transpose(Image.open(BytesIO(photo))).convert("RGB")
        for edge in SIZES:
            where = place(*whole.size, VariantSpec(name="x", width=edge, height=edge))
            reference = whole.resize((where.width, where.height), Image.Resampling.LANCZOS)
            totals[edge] += ssim(reference, Image.open(BytesIO(variants[edge])))
    return {edge: total / len(photos) for edge, total in totals.items()}


def row(name: str, form: OutputFormat, result: Result, base: Result, photos: list[bytes]) -> str:
    ours, theirs = sharpness(photos, result), sharpness(photos, base)
    size = sum(len(data) for made in result.variants for data in made.values())
    base_size = sum(len(data) for made in base.variants for data in made.values())
    changes = " ".join(f"{ours[edge] - theirs[edge]:+.4f}" for edge in SIZES)
    return (
        f"| {name} | {form.value} | {result.cpu_seconds:.3f} | "
        f"{result.cpu_seconds / base.cpu_seconds:.2f} | {size / base_size:.3f} | {changes} |"
    )


def chosen(folder: Path) -> list[Path]:
    """The JPEGs of the sizes that are compared."""
    found: list[Path] = []
    for path in sorted(folder.glob("*.jpg")):
        with Image.open(path) as picture:
            if MEGAPIXELS[0] <= picture.width * picture.height / 1e6 <= MEGAPIXELS[1]:
                found.append(path)
    return found


def isolation(engine: SandboxedEngine) -> float:
    """CPU milliseconds of a photo on which there is next to nothing to do."""
    with TemporaryDirectory() as folder:
        path = Path(folder, "tiny.jpg")
        Image.effect_noise((64, 64), 30).convert("RGB").save(path, "JPEG")
        result = asyncio.run(run_engine(engine, [path] * TINY, OutputFormat.JPEG))
    return 1000 * result.cpu_seconds


def main(folder: str, say: Callable[[str], None] = print) -> None:
    paths = chosen(Path(folder))
    photos = [path.read_bytes() for path in paths]
    say(f"{len(paths)} photos; sharpness is the change of SSIM at {SIZES}\n")
    say("| | out | CPU s | ratio | bytes | sharpness |\n|---|---|---|---|---|---|")
    for form in QUALITY:
        base = run_plain(photos, form)
        say(row("plain script", form, base, base, photos))
        for name, engine in (("Pillow engine", PillowEngine()), ("libvips engine", VipsEngine())):
            result = asyncio.run(run_engine(engine, paths, form))
            say(row(name, form, result, base, photos))
    say("\nIsolation by itself, CPU ms of a photo of 64 x 64 pixels:")
    for name, engine in (("Pillow engine", PillowEngine()), ("libvips engine", VipsEngine())):
        say(f"{name} {isolation(engine):.1f}")


if __name__ == "__main__":
    main(sys.argv[1])
