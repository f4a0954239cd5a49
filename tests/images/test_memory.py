"""Photos are admitted by the memory they will need, and what they say is true."""

import asyncio
import os
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from PIL import Image

from adapters.sandbox.admission import MemoryBudget
from adapters.sandbox.engine import SandboxedEngine
from adapters.sandbox.limits import MIB, EngineLimits
from application.ports import RenderedFile, RenderJob
from domain.recipe import default_recipe
from tests.images.drawing import CONTENT_TYPES, encoded, ramp
from tests.images.rendering import MakeEngine, one, render
from tests.support.process import resident_bytes

pytestmark = pytest.mark.anyio
EDGES = (2400, 1600)
LARGE: list[tuple[str, str, dict[str, object]]] = [
    ("JPEG", "RGB", {}),
    ("JPEG", "RGB", {"progressive": True}),
    ("JPEG", "CMYK", {}),
    ("PNG", "RGB", {"compress_level": 1}),
    ("PNG", "RGBA", {"compress_level": 1}),
    ("PNG", "LA", {"compress_level": 1}),
    ("PNG", "P", {"compress_level": 1}),
    ("PNG", "1", {}),
    ("PNG", "I;16", {"compress_level": 1}),
    ("TIFF", "F", {}),
    ("TIFF", "CMYK", {"compression": "tiff_lzw"}),
    ("WEBP", "RGBA", {"method": 0}),
    ("AVIF", "RGBA", {"speed": 10}),
    ("GIF", "P", {}),
]


def large(mode: str) -> Image.Image:
    picture = ramp(*EDGES)
    if mode == "P":
        return picture.quantize(64, method=Image.Quantize.FASTOCTREE)
    if mode in ("I;16", "F"):
        return picture.convert("L").convert("F" if mode == "F" else "I").convert(mode)
    return picture.convert("L").convert("LA") if mode == "LA" else picture.convert(mode)


@pytest.mark.parametrize(("form", "mode", "options"), LARGE)
async def test_no_photo_takes_more_memory_than_it_said(
    make_engine: MakeEngine, form: str, mode: str, options: dict[str, object]
) -> None:
    engine = make_engine(EngineLimits())
    data = encoded(large(mode), form, **options)
    for recipe in (default_recipe(), one(4000, 4000)):
        await render(engine, data, CONTENT_TYPES[form], recipe)
        assert engine.largest_child_bytes <= engine.largest_claim_bytes
    await engine.close()


async def test_photos_queue_up_for_memory_instead_of_dying(make_engine: MakeEngine) -> None:
    engine = make_engine(EngineLimits(memory_budget_bytes=200 * MIB, concurrency=8))
    data = encoded(ramp(*EDGES), "PNG", compress_level=1)
    highest = 0

    def watch(_file: RenderedFile) -> None:
        nonlocal highest
        highest = max(highest, engine.budget.used)

    async def again(folder: Path, number: int) -> None:
        output = folder / str(number)
        output.mkdir()
        job = RenderJob(
            source=folder / "source", folder=output, content_type="image/png", recipe=one()
        )
        await engine.render(job, watch)

    with TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "source").write_bytes(data)
        await asyncio.gather(*(again(folder, number) for number in range(8)))
    await engine.close()
    assert 0 < highest <= 200 * MIB
    assert engine.budget.used == 0


async def test_memory_is_given_out_in_order() -> None:
    budget = MemoryBudget(10)
    order: list[str] = []
    release = asyncio.Event()

    async def claim(name: str, size: int) -> None:
        async with budget.claim(size):
            order.append(name)
            await release.wait()

    tasks = [asyncio.ensure_future(claim(*each)) for each in (("a", 6), ("large", 10), ("b", 4))]
    await asyncio.sleep(0)
    assert order == ["a"]  # b would fit, but must not overtake
    release.set()
    await asyncio.gather(*tasks)
    assert order == ["a", "large", "b"]
    assert budget.used == 0


async def test_whoever_gives_up_waiting_takes_nothing_with_it() -> None:
    budget = MemoryBudget(10)

    async def claim(size: int) -> None:
        async with budget.claim(size):
            pass

    async with budget.claim(8):
        waiting = asyncio.ensure_future(claim(5))
        behind = asyncio.ensure_future(claim(2))
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.wait([behind], timeout=5)
        assert behind.done()
        assert budget.used == 8
    assert budget.used == 0


async def test_the_worker_does_not_grow_with_the_photos(engine: SandboxedEngine) -> None:
    data = encoded(ramp(64, 64), "JPEG")

    async def several(count: int) -> int:
        for _ in range(count):
            await render(engine, data, "image/jpeg")
        return resident_bytes(os.getpid())

    before = await several(10)
    descriptors = len(list(Path("/proc/self/fd").iterdir()))
    assert await several(100) < before * 1.05
    assert len(list(Path("/proc/self/fd").iterdir())) <= descriptors + 1  # closing takes a turn
