"""`pipeline demo`: one photo through an embedded pipeline, by the public HTTP calls only."""

import asyncio
import io
import mimetypes
import os
import shutil
import signal
import socket
import sys
import tempfile
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
from rich.console import Console
from rich.table import Table

from application.request_upload import ORIGINAL_EXTENSIONS
from domain.errors import InvalidConfiguration, PipelineError
from domain.lifecycle import State
from entrypoints.client import Document, PipelineClient

OUTPUT = Path("demo-output")
START_SECONDS = 30.0


class Steps:
    """Prints each step as it happens, with the seconds since the first."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._began = time.perf_counter()

    def say(self, what: str, detail: str = "") -> None:
        seconds = time.perf_counter() - self._began
        self._console.print(f"[dim]{seconds:6.2f} s[/]  {what}  [cyan]{detail}[/]", soft_wrap=True)


async def run_demo(photo: Path | None) -> None:
    """Raises InvalidConfiguration for a photo that cannot be sent, PipelineError if it fails."""
    console = Console(highlight=False)
    name, content_type, body = _photo(photo)
    steps = Steps(console)
    with tempfile.TemporaryDirectory(prefix="image-pipeline-demo-") as folder:
        async with _embedded(Path(folder)) as url, aiohttp.ClientSession() as session:
            steps.say("embedded pipeline is up", f"{url}  (SQLite and files in {folder})")
            client = PipelineClient(url, session)
            document, seconds = await _send(client, steps, name, content_type, body)
            _show(console, document, seconds)
            if document["status"] != State.READY:
                raise PipelineError(f"the photo ended {document['status']}")
            if photo is not None:
                await _save(session, document)
                console.print(f"The variants are in [bold]{OUTPUT}/[/].")


async def _send(
    client: PipelineClient, steps: Steps, name: str, content_type: str, body: bytes
) -> tuple[Document, float]:
    """The four calls; returns the finished media and the seconds from complete to its end."""
    steps.say("POST /upload-url", f"{name}, {content_type}")
    ticket = await client.request_upload(content_type=content_type, file_name=name)
    steps.say("  media", ticket["media_id"])
    await client.put(ticket, body)
    steps.say("PUT  upload_url", f"{len(body):,} bytes straight into the store")
    began = time.perf_counter()
    document = await client.complete(ticket)
    steps.say("POST /complete-upload", document["status"])
    status = document["status"]
    while State(document["status"]) in (State.UPLOADED, State.PROCESSING, State.RETRYING):
        document = await client.media(ticket["media_id"])
        if document["status"] != status:
            status = document["status"]
            steps.say("GET  /media/{id}", status)
        await asyncio.sleep(0.02)
    return document, time.perf_counter() - began


def _show(console: Console, document: Document, seconds: float) -> None:
    console.print()
    console.print(f"state      [bold green]{document['status']}[/] after {seconds:.2f} s")
    if document["failure"]:
        console.print(f"failure    {document['failure']['code']}: {document['failure']['detail']}")
    console.print(f"final_url  {document['final_url']}", soft_wrap=True)
    table = Table("variant", "size", "bytes", "type")
    for variant in document["variants"]:
        size = f"{variant['width']} x {variant['height']}"
        table.add_row(variant["name"], size, f"{variant['bytes']:,}", variant["content_type"])
    console.print(table)


async def _save(session: aiohttp.ClientSession, document: Document) -> None:
    OUTPUT.mkdir(exist_ok=True)
    for variant in document["variants"]:
        extension = variant["content_type"].partition("/")[2]
        async with session.get(variant["url"]) as answer:
            body = await answer.read()
        (OUTPUT / f"{variant['name']}.{extension}").write_bytes(body)


def _photo(photo: Path | None) -> tuple[str, str, bytes]:
    """Name, content type and bytes of what to send."""
    if photo is None:
        return "drawn-by-the-demo.jpg", "image/jpeg", draw_photo()
    if not photo.is_file():
        raise InvalidConfiguration([f"PHOTO is {photo}, and there is no such file."])
    content_type = mimetypes.guess_type(photo.name)[0] or "unknown"
    if content_type not in ORIGINAL_EXTENSIONS:
        supported = ", ".join(sorted(ORIGINAL_EXTENSIONS))
        raise InvalidConfiguration([f"PHOTO is {photo}, which is none of {supported}."])
    return photo.name, content_type, photo.read_bytes()


def draw_photo(width: int = 1632, height: int = 1224) -> bytes:
    """A JPEG of a sunset over water, 2 MP by default: gradients, texture and hard edges."""
    from PIL import Image, ImageChops, ImageDraw, ImageFilter

    gradient: Any = Image.linear_gradient("L")
    sky = gradient.resize((width, height))
    levels = range(256)
    red = sky.point([250 - level // 5 for level in levels])
    green = sky.point([90 + level // 2 for level in levels])
    blue = sky.point([150 - level // 3 for level in levels])
    picture = Image.merge("RGB", (red, green, blue))
    draw = ImageDraw.Draw(picture)
    horizon, sun = int(height * 0.62), width // 9
    center = (int(width * 0.64), horizon - sun // 3)
    draw.circle(center, sun, fill=(255, 241, 200))
    draw.rectangle((0, horizon, width, height), fill=(38, 62, 96))
    for row in range(horizon, height, 6):
        reach = int(sun * (1.2 - (row - horizon) / (height - horizon) / 2))
        shift = (row * 7919) % 37 - 18
        draw.line((center[0] - reach + shift, row, center[0] + reach + shift, row), (214, 170, 120))
    hills = [(x, horizon - int(60 + 45 * ((x * x // 977) % 7) / 7)) for x in range(0, width, 60)]
    draw.polygon([(0, horizon), *hills, (width, horizon)], fill=(52, 44, 70))
    grain = Image.effect_noise((width, height), 14).filter(ImageFilter.GaussianBlur(0.6))
    picture = ImageChops.overlay(picture, Image.merge("RGB", (grain, grain, grain)))
    out = io.BytesIO()
    picture.save(out, "JPEG", quality=90)
    return out.getvalue()


@asynccontextmanager
async def _embedded(folder: Path) -> AsyncGenerator[str]:
    """An embedded pipeline as a process of its own, on free ports; its base URL."""
    port, metrics_port = _free_port(), _free_port()
    environment = {name: value for name, value in os.environ.items() if not name.startswith("OTEL")}
    environment |= {
        "DATA_DIR": str(folder / "data"),
        "SCRATCH_DIR": str(folder),
        "API_HOST": "127.0.0.1",
        "API_PORT": str(port),
        "WORKER_METRICS_PORT": str(metrics_port),
    }
    log = folder / "pipeline.log"
    with log.open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "entrypoints.cli", "embedded"),
            env=environment,
            stdout=output,
            stderr=asyncio.subprocess.STDOUT,
        )
    url = f"http://127.0.0.1:{port}"
    try:
        await _ready(url, process, log)
        yield url
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
        await process.wait()


async def _ready(url: str, process: asyncio.subprocess.Process, log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    async with aiohttp.ClientSession() as session:
        while time.monotonic() < deadline and process.returncode is None:
            try:
                async with session.get(f"{url}/health/ready") as answer:
                    if answer.ok:
                        return
            except aiohttp.ClientError:
                pass
            await asyncio.sleep(0.05)
    shutil.copyfileobj(log.open(), sys.stderr)
    raise PipelineError("the embedded pipeline did not start; its log is above")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
