"""Engines that draw nothing: what is left of a job is the protocol around the picture."""

from collections.abc import Callable, Sequence
from hashlib import sha256
from pathlib import Path

from application.ports import ImageEngine, ObjectStore
from application.values import Downloaded, RenderedFile, Rendering, RenderJob, StoredObject
from domain.parts import Placeholder
from domain.recipe import VariantSpec

# About what four JPEG variants of a photo of 12 megapixels have, largest first.
VARIANT_BYTES = (480_000, 125_000, 42_000, 12_000)
SHA256 = "cd" * 32
RENDERING = Rendering(
    width=4000,
    height=3000,
    format="JPEG",
    placeholder=Placeholder(thumbhash="1QcSHQRnh493V4dIh4eXh1h4kJUI", average_color="#aabbcc"),
)


class CopyEngine(ImageEngine):
    """Each variant is the first bytes of the original."""

    async def render(self, job: RenderJob, on_variant: Callable[[RenderedFile], None]) -> Rendering:
        data = job.source.read_bytes()
        for spec, size in zip(job.recipe.variants, VARIANT_BYTES, strict=True):
            path = job.folder / spec.name
            path.write_bytes(data[:size])
            on_variant(_rendered(spec, path, min(size, len(data)), sha256(data[:size]).hexdigest()))
        return RENDERING


class NoEngine(ImageEngine):
    """Each variant is the same empty file, which is there already."""

    def __init__(self, file: Path) -> None:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
        self._file = file

    async def render(self, job: RenderJob, on_variant: Callable[[RenderedFile], None]) -> Rendering:
        for spec, size in zip(job.recipe.variants, VARIANT_BYTES, strict=True):
            on_variant(_rendered(spec, self._file, size, SHA256))
        return RENDERING


class NoStore(ObjectStore):
    """No bytes move at all."""

    async def head(self, key: str) -> StoredObject | None:
        del key
        return None

    async def download(self, key: str, *, etag: str, to: Path, max_bytes: int) -> Downloaded:
        del key, etag, to, max_bytes
        return Downloaded(0, SHA256)

    async def upload(self, key: str, source: Path, *, content_type: str) -> None: ...

    async def list_keys(self, prefix: str) -> Sequence[str]:
        del prefix
        return ()

    async def delete(self, keys: Sequence[str]) -> None: ...


def _rendered(spec: VariantSpec, path: Path, size: int, digest: str) -> RenderedFile:
    return RenderedFile(
        name=spec.name,
        path=path,
        content_type="image/webp",
        width=spec.width,
        height=spec.height,
        bytes=size,
        sha256=digest,
    )
