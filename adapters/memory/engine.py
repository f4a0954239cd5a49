"""An image engine that draws nothing: the bytes of the original say what happens to it.

b"..."                   rendered: each variant is the recipe's name and the original's hash
b"fail:image-corrupt"    ProcessingFailed with that code
b"crash"                 an error that nobody foresaw
"""

import asyncio
import hashlib
from collections.abc import Callable
from pathlib import Path

from application.ports import ImageEngine
from application.values import RenderedFile, Rendering, RenderJob
from domain.errors import ProcessingFailed
from domain.failure import FailureCode
from domain.parts import Placeholder
from domain.recipe import VariantSpec

FAIL = b"fail:"


class MemoryEngine(ImageEngine):
    """`seconds` is what each variant takes."""

    def __init__(self, *, seconds: float = 0.0) -> None:
        self.seconds = seconds
        self.running = 0

    async def render(self, job: RenderJob, on_variant: Callable[[RenderedFile], None]) -> Rendering:
        body = job.source.read_bytes()
        self.running += 1
        try:
            if body.startswith(FAIL):
                raise ProcessingFailed(FailureCode(body.removeprefix(FAIL).decode()), "As told.")
            if body == b"crash":
                raise RuntimeError("as told")
            for spec in job.recipe.variants:
                await asyncio.sleep(self.seconds)
                on_variant(_rendered(spec, body, job.folder))
        finally:
            self.running -= 1
        placeholder = Placeholder(thumbhash="", average_color="#000000")
        return Rendering(width=4000, height=3000, format="JPEG", placeholder=placeholder)


def _rendered(spec: VariantSpec, original: bytes, folder: Path) -> RenderedFile:
    content = f"{spec.name} of {hashlib.sha256(original).hexdigest()}".encode()
    path = folder / spec.name
    path.write_bytes(content)
    return RenderedFile(
        name=spec.name,
        path=path,
        content_type="image/webp",
        width=spec.width,
        height=spec.height,
        bytes=len(content),
        sha256=hashlib.sha256(content).hexdigest(),
    )
