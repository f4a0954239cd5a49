"""`pipeline upload FILE…`: photos through the API, several at once, until they are finished."""

import asyncio
import mimetypes
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)

from application.request_upload import ORIGINAL_EXTENSIONS
from domain.errors import PipelineError
from domain.lifecycle import State
from entrypoints.client import Document, PipelineClient
from entrypoints.tools.shared import coloured, print_json, printable, table, terminal

PATIENCE_SECONDS = 60.0  # with a service that is busy or does not answer
_TYPES = mimetypes.MimeTypes()
for _type, _extension in (("image/avif", ".avif"), ("image/webp", ".webp")):
    _TYPES.add_type(_type, _extension)  # not every Python knows these


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """What became of one file. `state` is the last one known; None if the API never took it."""

    file: Path
    seconds: float
    state: State | None = None
    media_id: str | None = None
    variants: tuple[str, ...] = ()
    final_url: str | None = None
    trace_id: str | None = None
    problem: str | None = None

    @property
    def is_ready(self) -> bool:
        return self.state is State.READY


class Sender:
    """Sends files, at most `parallel` at once. `timeout_seconds` is for one photo."""

    def __init__(
        self, client: PipelineClient, *, parallel: int, timeout_seconds: float, progress: Progress
    ) -> None:
        self._client = client
        self._slots = asyncio.Semaphore(parallel)
        self._timeout_seconds = timeout_seconds
        self._progress = progress

    async def send_all(self, files: Sequence[Path]) -> list[Sent]:
        """One answer for each file, in their order."""
        total = self._progress.add_task("photos", total=len(files))

        async def send(file: Path) -> Sent:
            async with self._slots:
                row = self._progress.add_task(printable(file.name), total=None)
                sent = await self._send(file, row)
                self._progress.remove_task(row)
                self._progress.advance(total)
                return sent

        return await asyncio.gather(*map(send, files))

    async def _send(self, file: Path, row: TaskID) -> Sent:
        loop = asyncio.get_running_loop()
        began = loop.time()
        ticket: Document = {}
        try:
            async with asyncio.timeout(self._timeout_seconds):
                self._say(row, file, "asking for a link")
                ticket |= await self._client.request_upload(**_described(file))
                self._say(row, file, "uploading")
                await self._client.put(ticket, file)
                self._say(row, file, "processing")
                await self._client.complete(ticket)
                document = await self._client.finished(
                    ticket["media_id"], timeout_seconds=self._timeout_seconds
                )
            return _finished(file, loop.time() - began, document)
        except TimeoutError:
            problem = f"not finished within {self._timeout_seconds:g} s"
        except (PipelineError, OSError) as error:
            problem = str(error)
        return Sent(
            file=file,
            seconds=loop.time() - began,
            media_id=ticket.get("media_id"),
            problem=problem,
        )

    def _say(self, row: TaskID, file: Path, what: str) -> None:
        self._progress.update(row, description=printable(f"{file.name}: {what}"))


def _described(file: Path) -> dict[str, str]:
    """What the API is told of it; the type goes by the name. Raises PipelineError."""
    if not file.is_file():
        raise PipelineError("there is no such file")
    found = _TYPES.guess_type(file.name)[0]
    if found not in ORIGINAL_EXTENSIONS:
        supported = ", ".join(sorted(ORIGINAL_EXTENSIONS))
        raise PipelineError(f"its name is not that of a photo; supported are {supported}")
    return {"content_type": found, "file_name": file.name}


async def run_upload(
    files: Sequence[Path], *, url: str, parallel: int, timeout_seconds: float, as_json: bool
) -> None:
    """Raises PipelineError if one of them is not READY in the end."""
    progress = _progress()
    async with aiohttp.ClientSession() as session:
        patience = min(PATIENCE_SECONDS, timeout_seconds)
        client = PipelineClient(url, session, patience_seconds=patience)
        sender = Sender(
            client, parallel=parallel, timeout_seconds=timeout_seconds, progress=progress
        )
        with progress:
            sent = await sender.send_all(files)
    if as_json:
        print_json([_plain(one) for one in sent])
    else:
        _print(sent)
    failed = sum(not one.is_ready for one in sent)
    if failed:
        raise PipelineError(f"{failed} of {len(sent)} photos are not READY")


def _finished(file: Path, seconds: float, document: Document) -> Sent:
    failure: Document | None = document["failure"]
    return Sent(
        file=file,
        seconds=seconds,
        state=State(document["status"]),
        media_id=document["media_id"],
        variants=tuple(variant["name"] for variant in document["variants"]),
        final_url=document["final_url"],
        trace_id=document["trace_id"],
        problem=f"{failure['code']}: {failure['detail']}" if failure else None,
    )


def _progress() -> Progress:
    """On stderr, and only on a terminal: stdout belongs to the answer."""
    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=Console(stderr=True),
        transient=True,
        disable=not sys.stderr.isatty(),
    )


def _print(sent: Sequence[Sent]) -> None:
    rows = table("media", "file", "state", "variants", "seconds", "trace id")
    for one in sent:
        rows.row(
            one.media_id or "-",
            one.file.name,
            coloured(one.state or ("UNKNOWN" if one.media_id else "NOT SENT")),
            ", ".join(one.variants) or "-",
            f"{one.seconds:.2f}",
            one.trace_id or "-",
        )
    console = terminal()
    console.print(rows)
    for one in sent:
        if one.problem:
            console.print(printable(f"{one.file}: {one.problem}"), soft_wrap=True)


def _plain(sent: Sent) -> dict[str, Any]:
    return {
        "file": str(sent.file),
        "status": sent.state,
        "media_id": sent.media_id,
        "variants": sent.variants,
        "final_url": sent.final_url,
        "seconds": round(sent.seconds, 3),
        "trace_id": sent.trace_id,
        "problem": sent.problem,
    }
