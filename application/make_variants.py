"""The work of one attempt: download the pinned original, render it, upload each variant."""

import asyncio
import base64

from application.ports import ImageEngine, ObjectStore, Scratch
from application.values import RenderedFile, RenderJob
from domain.errors import ProcessingFailed, Unavailable
from domain.failure import FailureCode
from domain.media import Media
from domain.parts import Original, Result, Variant
from domain.recipe import EXTENSIONS, Recipe


class MakeVariants:
    """Leaves all variants of a claimed media in the store, under the prefix of its token."""

    def __init__(
        self,
        *,
        store: ObjectStore,
        engine: ImageEngine,
        scratch: Scratch,
        recipe: Recipe,
        max_bytes: int,
    ) -> None:
        self._store = store
        self._engine = engine
        self._scratch = scratch
        self._recipe = recipe
        self._max_bytes = max_bytes

    async def __call__(self, media: Media) -> Result:
        """Raises ProcessingFailed or StoreUnavailable; some variants may lie in the store then."""
        assert media.etag is not None, "a claimed media has a pinned original"
        async with self._scratch.folder() as folder:
            source = folder / "original"
            downloaded = await self._store.download(
                media.original_key, etag=media.etag, to=source, max_bytes=self._max_bytes
            )
            _check_declared(media, downloaded.sha256)
            (folder / "variants").mkdir()
            job = RenderJob(
                source=source,
                folder=folder / "variants",
                content_type=media.content_type,
                recipe=self._recipe,
            )
            return await self._render(media, job, downloaded.sha256)

    async def _render(self, media: Media, job: RenderJob, sha256: str) -> Result:
        """Each variant is uploaded while the next is still being made."""
        uploads: list[asyncio.Task[Variant]] = []
        try:
            async with asyncio.TaskGroup() as group:
                rendering = await self._engine.render(
                    job,
                    lambda file: uploads.append(group.create_task(self._upload(media, file))),
                )
        except BaseExceptionGroup as failures:
            raise _main_failure(failures) from failures
        return Result(
            original=Original(
                sha256=sha256,
                width=rendering.width,
                height=rendering.height,
                format=rendering.format,
            ),
            variants=tuple(upload.result() for upload in uploads),
            placeholder=rendering.placeholder,
        )

    async def _upload(self, media: Media, file: RenderedFile) -> Variant:
        prefix = media.variant_prefix(media.lease_token)
        key = f"{prefix}{file.name}.{EXTENSIONS[file.content_type]}"
        await self._store.upload(key, file.path, content_type=file.content_type)
        return Variant(
            name=file.name,
            key=key,
            content_type=file.content_type,
            width=file.width,
            height=file.height,
            bytes=file.bytes,
            sha256=file.sha256,
            recipe=self._recipe.hash,
        )


def _check_declared(media: Media, sha256: str) -> None:
    """Refuse an original whose bytes are not those that the client declared."""
    declared = media.declared_sha256
    if declared is not None and base64.b64decode(declared).hex() != sha256:
        detail = "Upload the file again; its SHA-256 is not the declared one."
        raise ProcessingFailed(FailureCode.CHECKSUM_MISMATCH, detail)


def _main_failure(failures: BaseExceptionGroup[BaseException]) -> BaseException:
    """The one that says most about the photo: its own failure before a server's."""
    leaves = list(failures.exceptions)
    for kind in (ProcessingFailed, Unavailable):
        for leaf in leaves:
            if isinstance(leaf, kind):
                return leaf
    return leaves[0]
