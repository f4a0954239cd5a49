"""Every file of a corpus through an engine: what became of it, and what it cost."""

import asyncio
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from adapters.sandbox.containers import CONTENT_TYPES, SNIFF_BYTES, sniff
from adapters.sandbox.engine import SandboxedEngine
from application.ports import RenderJob
from domain.errors import ProcessingFailed
from domain.recipe import default_recipe

READY = "READY"


@dataclass(slots=True)
class Survey:
    """What became of the files of one folder. `refused` holds name, code and detail."""

    folder: str
    outcomes: Counter[str] = field(default_factory=Counter[str])
    refused: list[tuple[str, str, str]] = field(default_factory=list[tuple[str, str, str]])
    slowest_seconds: float = 0.0
    slowest: str = ""
    peak_bytes: int = 0

    def row(self) -> str:
        """One row of the table in docs/images.md."""
        failed = ", ".join(
            f"{code} {count}" for code, count in sorted(self.outcomes.items()) if code != READY
        )
        return (
            f"| {self.folder} | {self.outcomes.total()} | {self.outcomes[READY]} | "
            f"{failed or '-'} | {self.slowest_seconds:.2f} | {self.peak_bytes >> 20} |"
        )


def files(folder: Path, sample: int | None) -> list[Path]:
    """The files below `folder`; with `sample`, about that many of them, evenly spread."""
    found = sorted(path for path in folder.rglob("*") if path.is_file())
    step = max(1, len(found) // sample) if sample else 1
    return found[::step]


async def survey(engine: SandboxedEngine, name: str, paths: Sequence[Path]) -> Survey:
    """Render every path, as many at a time as the engine takes."""
    result = Survey(name)
    engine.largest_child_bytes = 0
    queue = iter(paths)

    async def work() -> None:
        for path in queue:
            await _one(engine, path, result)

    async with asyncio.TaskGroup() as group:
        for _ in range(engine.limits.concurrency):
            group.create_task(work())
    result.peak_bytes = engine.largest_child_bytes
    return result


async def _one(engine: SandboxedEngine, path: Path, result: Survey) -> None:
    began = time.monotonic()
    outcome = READY
    with TemporaryDirectory() as folder:
        job = RenderJob(
            source=path,
            folder=Path(folder),
            content_type=_content_type(path),
            recipe=default_recipe(),
        )
        try:
            await engine.render(job, lambda _: None)
        except ProcessingFailed as failed:
            outcome = failed.code
            result.refused.append((path.name, failed.code, failed.detail))
    result.outcomes[outcome] += 1
    seconds = time.monotonic() - began
    if seconds > result.slowest_seconds:
        result.slowest_seconds, result.slowest = seconds, path.name


def _content_type(path: Path) -> str:
    with path.open("rb") as file:
        kind = sniff(file.read(SNIFF_BYTES))
    return next((name for name, of in CONTENT_TYPES.items() if of is kind), "image/jpeg")
