"""Runs pictures through an engine and opens what comes out. Only tests open pictures here."""

import os
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from PIL import Image

from adapters.sandbox.engine import SandboxedEngine
from adapters.sandbox.limits import EngineLimits
from application.ports import ImageEngine, RenderedFile, Rendering, RenderJob
from domain.errors import ProcessingFailed
from domain.failure import FailureCode
from domain.recipe import Animation, Fit, OutputFormat, Recipe, VariantSpec

_ADVICE = re.compile(r"\b(send|upload|save)\b", re.IGNORECASE)
OUR_OWN = {FailureCode.INTERNAL_ERROR}  # the photo is tried again by itself
MakeEngine = Callable[[EngineLimits], SandboxedEngine]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rendered:
    """What came out: the engine's word, and the bytes of each variant in order of arrival."""

    rendering: Rendering
    files: dict[str, RenderedFile] = field(default_factory=dict[str, RenderedFile])
    data: dict[str, bytes] = field(default_factory=dict[str, bytes])

    def image(self, name: str = "only") -> Image.Image:
        """The variant, decoded."""
        picture = Image.open(BytesIO(self.data[name]))
        picture.load()
        return picture


def one(
    width: int = 64,
    height: int = 64,
    *,
    form: OutputFormat = OutputFormat.PNG,
    fit: Fit = Fit.INSIDE,
    quality: int = 90,
    background: str = "#ffffff",
    animation: Animation = Animation.FIRST,
    copyright_line: str | None = None,
) -> Recipe:
    """A recipe of one variant, called `only`; PNG by default, so that pixels can be compared."""
    spec = VariantSpec(
        name="only", width=width, height=height, format=form, fit=fit, quality=quality
    )
    return Recipe(
        name="test",
        variants=(spec,),
        background=background,
        animation=animation,
        copyright=copyright_line,
    )


async def render(
    engine: ImageEngine, data: bytes, content_type: str, recipe: Recipe | None = None
) -> Rendered:
    """Everything the engine makes of `data`."""
    files: dict[str, RenderedFile] = {}
    with TemporaryDirectory() as folder:
        source, output = Path(folder, "original"), Path(folder, "output")
        source.write_bytes(data)
        output.mkdir()
        job = RenderJob(
            source=source, folder=output, content_type=content_type, recipe=recipe or one()
        )
        rendering = await engine.render(job, lambda file: files.update({file.name: file}))
        contents = {name: file.path.read_bytes() for name, file in files.items()}
    return Rendered(rendering=rendering, files=files, data=contents)


async def failure(
    engine: ImageEngine, data: bytes, content_type: str, recipe: Recipe | None = None
) -> ProcessingFailed:
    """The failure that `data` ends in; its detail must tell the user what to do."""
    with pytest.raises(ProcessingFailed) as caught:
        await render(engine, data, content_type, recipe)
    assert caught.value.detail.endswith(".")
    if caught.value.code not in OUR_OWN:
        assert _ADVICE.search(caught.value.detail), caught.value.detail
    return caught.value


async def code(engine: ImageEngine, data: bytes, content_type: str) -> FailureCode:
    return (await failure(engine, data, content_type)).code


def cpu_seconds(engine: SandboxedEngine) -> float:
    """User and system time so far of this process, the forkserver and its ended children."""
    stat = Path(f"/proc/{engine.forkserver_pid}/stat").read_text().rpartition(")")[2].split()
    return time.process_time() + sum(map(int, stat[11:15])) / os.sysconf("SC_CLK_TCK")
