"""Kill, or pause, the worker that holds a photo, and watch what becomes of the photo.

    .venv/bin/python -m tests.exercises.take_over embedded
    .venv/bin/python -m tests.exercises.take_over production
    .venv/bin/python -m tests.exercises.take_over production --pause

Real processes on free ports and in temporary folders, with leases of three seconds. A killed
embedded process is started again; of two production workers the other one takes over. A paused
worker wakes up after that and goes on, as if nothing had happened.
"""

import argparse
import asyncio
import tempfile
import time
from pathlib import Path
from typing import Any

from entrypoints.client import Document
from entrypoints.demo import draw_photo
from tests.support.product import ProductProcess
from tests.support.services import Services, services_of_a_program
from tests.support.systems import SYSTEM_NAMES, System, SystemName, running
from tests.support.waiting import eventually

WAIT_SECONDS = 60.0
SHOWN = ("from", "to", "attempt", "worker_id", "outcome", "code")


class Story:
    """Prints a line for each thing that happens, with the seconds since the first."""

    def __init__(self) -> None:
        self._began = time.perf_counter()

    def tell(self, what: str) -> None:
        print(f"{time.perf_counter() - self._began:6.2f} s  {what}", flush=True)


async def take_over(system: System, *, pause: bool) -> None:
    client = system.client()
    ticket = await client.request_upload(content_type="image/jpeg", file_name="large.jpg")
    await client.put(ticket, draw_photo(6000, 4500))
    media_id = ticket["media_id"]
    story = Story()
    await client.complete(ticket)
    document = await _seen(system, media_id, "PROCESSING")
    holder = await _holder(system, document["attempts"][-1]["worker_id"])
    story.tell(f"PROCESSING, attempt {document['attempt']}")
    if pause:
        holder.pause()
        story.tell("the worker is paused: it renews its lease no more")
    else:
        holder.kill()
        story.tell("the worker is killed with SIGKILL: nothing of it runs on")
    if holder.role == "embedded":
        holder.start()
        await holder.ready()
        story.tell("the process is started again")
    document = await client.finished(media_id, timeout_seconds=WAIT_SECONDS)
    story.tell(f"{document['status']} after {len(document['attempts'])} attempts")
    if pause:
        holder.resume()
        story.tell("the paused worker wakes up and goes on")
        await eventually(lambda: _stale_results(system, holder), seconds=WAIT_SECONDS)
        story.tell("it sees that its token is old and throws its result away")
    await _show(system, document)


async def _seen(system: System, media_id: str, status: str) -> Document:
    return await eventually(
        lambda: system.client().media(media_id), until=lambda d: d["status"] == status
    )


async def _holder(system: System, worker_id: str) -> ProductProcess:
    """The process whose log has the claim."""

    async def claimants() -> list[ProductProcess]:
        return [process for process in system.workers if worker_id in process.output()]

    return (await eventually(claimants))[0]


async def _stale_results(system: System, process: ProductProcess) -> bool:
    """Whether its metrics page counts a result that came too late."""
    async with system.session.get(f"http://127.0.0.1:{process.port}/metrics") as answer:
        return "pipeline_stale_results_total 1.0" in await answer.text()


async def _show(system: System, document: Document) -> None:
    """What the photo and the processes say about it."""
    print("\nattempts of the photo")
    for one in document["attempts"]:
        print(f"  {one['number']}  {one['worker_id']}  {one['outcome']}")
    print("variants")
    for key in await system.inside.store.list_keys(f"media/{document['media_id']}/"):
        print(f"  {key}")
    print("what the processes said")
    changes: list[dict[str, Any]] = [
        change | {"by": name}
        for name, process in system.processes.items()
        for change in process.events("media_state_changed")
    ]
    for change in sorted(changes, key=lambda change: change["time"]):
        details = ", ".join(f"{name} {change[name]}" for name in SHOWN if name in change)
        print(f"  {change['time'][11:23]}  {change['by']:<10}  {details}")


async def _run(name: SystemName, services: Services, *, pause: bool) -> None:
    with tempfile.TemporaryDirectory(prefix="image-pipeline-exercise-") as folder:
        async with running(name, services, Path(folder), workers=2) as system:
            await take_over(system, pause=pause)


def main() -> None:
    parser = argparse.ArgumentParser(description="Watch a take-over.")
    parser.add_argument("set", choices=SYSTEM_NAMES)
    parser.add_argument("--pause", action="store_true", help="production only: do not kill")
    options = parser.parse_args()
    if options.pause and options.set == "embedded":
        parser.error("with one process there is nobody to take over: use production")
    with services_of_a_program() as services:
        asyncio.run(_run(options.set, services, pause=options.pause))


if __name__ == "__main__":
    main()
