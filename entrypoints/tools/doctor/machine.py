"""This machine as a worker: its isolation, its decoders, its disk."""

import io
import tempfile
from pathlib import Path

from adapters.disk_room import ROOM_BYTES, free_bytes
from adapters.sandbox.engine import SandboxedEngine
from adapters.system import TempScratch
from application.ports import RenderJob
from application.request_upload import ORIGINAL_EXTENSIONS
from domain.errors import DiskFull, InvalidConfiguration, PipelineError
from domain.recipe import Recipe
from entrypoints.bootstrap import make_engine
from entrypoints.settings import Settings
from entrypoints.tools.doctor.findings import Finding, Findings, failed, ok, warning

SIZE = (96, 64)
_REMEDY = "Set SCRATCH_DIR to a folder of ours with more free space, or raise SCRATCH_SIZE."


async def examine_machine(settings: Settings) -> Findings:
    engine = make_engine(settings)
    missing = engine.features.missing
    for sentence in missing:
        yield warning("sandbox", sentence, "Use a newer kernel; photos are decoded all the same.")
    if not missing:
        yield ok("sandbox", "Decoders give up files, network and privileges on this machine.")
    yield await _scratch(settings)
    try:
        await engine.open()
        yield await _decoders(engine, settings)
    except InvalidConfiguration as error:
        remedy = "Install the pinned requirements anew, or choose another IMAGE_ENGINE."
        yield failed("decoders", " ".join(error.problems), remedy)
    finally:
        await engine.close()


async def _scratch(settings: Settings) -> Finding:
    scratch = TempScratch(Path(settings.scratch_dir) if settings.scratch_dir else None)
    try:
        async with scratch.folder() as folder:
            (folder / "trial").write_bytes(b"1")
            free = free_bytes(folder)
    except (OSError, DiskFull) as error:
        reason = "the disk is full" if isinstance(error, DiskFull) else error.strerror
        sentence = f"Files cannot be written where photos are worked on: {reason}."
        return failed("scratch", sentence, _REMEDY)
    finally:
        await scratch.close()
    return _judged(free, settings)


def _judged(free: int, settings: Settings) -> Finding:
    """Whether the largest photos have room, as many as are worked on at once."""
    photos = free // (settings.max_upload_bytes + ROOM_BYTES)
    there = f"where photos are worked on {free >> 20} MiB are free"
    if photos < 1:
        return failed("scratch", f"Too little for one large photo: {there}.", _REMEDY)
    if photos < settings.worker_concurrency:
        sentence = f"Room for {photos} of {settings.worker_concurrency} large photos: {there}."
        return warning("scratch", sentence, _REMEDY)
    return ok("scratch", f"Photos have room: {there}.")


async def _decoders(engine: SandboxedEngine, settings: Settings) -> Finding:
    problems: list[str] = []
    for content_type in ORIGINAL_EXTENSIONS:
        problem = await _decode(engine, content_type, settings.image_recipe())
        if problem:
            problems.append(f"{content_type} ({problem})")
    name = settings.image_engine.value
    if problems:
        return failed(
            "decoders",
            f"Some types are not decoded with {name}: {', '.join(problems)}.",
            "Install the pinned requirements anew; see the log lines of the decoder.",
        )
    types = ", ".join(one.removeprefix("image/") for one in ORIGINAL_EXTENSIONS)
    return ok("decoders", f"Photos of all types are decoded with {name}: {types}.")


async def _decode(engine: SandboxedEngine, content_type: str, recipe: Recipe) -> str | None:
    """The problem, if there is one."""
    with tempfile.TemporaryDirectory(prefix="image-pipeline-doctor-") as folder:
        source, variants = Path(folder) / "original", Path(folder) / "variants"
        variants.mkdir()
        try:
            source.write_bytes(_drawn(content_type))
            job = RenderJob(
                source=source, folder=variants, content_type=content_type, recipe=recipe
            )
            await engine.render(job, lambda _: None)
        except (PipelineError, OSError, KeyError) as error:
            return str(error)
    return None


def _drawn(content_type: str) -> bytes:
    from PIL import Image

    out = io.BytesIO()
    form = content_type.removeprefix("image/").upper()
    Image.new("RGB", SIZE, (30, 120, 180)).save(out, form)
    return out.getvalue()
