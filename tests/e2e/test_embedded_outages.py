"""The embedded set's outages: its database locked by a stranger, its folder not to be written."""

import asyncio
import sqlite3
from collections.abc import AsyncGenerator, Generator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from entrypoints.client import Document
from tests.e2e.asking import dead_letters, nothing_waits
from tests.e2e.photos import draw
from tests.e2e.sending import accepted, uploaded
from tests.support.services import Services
from tests.support.systems import System, running

pytestmark = pytest.mark.anyio

ANSWER_SECONDS = 6.0  # the most that anybody waits for a 503
CALLS_MIN = 3  # during an outage


@pytest.fixture
async def system(services: Services, tmp_path: Path) -> AsyncGenerator[System]:
    async with running("embedded", services, tmp_path) as opened:
        yield opened


@contextmanager
def locked(database: Path) -> Generator[None]:
    """Another program has the file for itself: a backup, a shell."""
    with closing(sqlite3.connect(database, isolation_level=None)) as stranger:
        stranger.execute("PRAGMA busy_timeout = 10000")
        stranger.execute("BEGIN IMMEDIATE")
        yield
        stranger.execute("ROLLBACK")


@contextmanager
def unwritable(folder: Path) -> Generator[None]:
    """A file stands where the folder should be: even root cannot write there."""
    aside = folder.with_suffix(".aside")
    folder.rename(aside)
    folder.touch()
    try:
        yield
    finally:
        folder.unlink()
        aside.rename(folder)


async def refused_for_now(system: System, ticket: Document) -> float:
    """Seconds until complete-upload said 503 and when to come back."""
    clock = asyncio.get_running_loop().time
    began = clock()
    body = {name: ticket[name] for name in ("media_id", "original_key")}
    async with system.session.post(f"{system.url}/complete-upload", json=body) as answer:
        document = await answer.json(content_type=None)
    assert (answer.status, "Retry-After" in answer.headers) == (503, True), document
    return clock() - began


async def refused_in_time(system: System, ticket: Document, outage: str) -> None:
    seconds = [await refused_for_now(system, ticket) for _ in range(CALLS_MIN)]
    print(f"{outage}: 503 after {[round(one, 2) for one in seconds]} s")
    assert max(seconds) < ANSWER_SECONDS


async def complete_all(system: System, tickets: list[Document], promised: list[str]) -> None:
    """After the outage: what was refused is accepted, and everything comes to its end."""
    for ticket in tickets:
        await system.client().complete(ticket)
    await all_ready_and_nobody_paid(system, [*promised, *(one["media_id"] for one in tickets)])


async def all_ready_and_nobody_paid(system: System, media_ids: list[str]) -> None:
    for media_id in media_ids:
        document = await system.client().finished(media_id)
        assert (document["status"], document["attempt"]) == ("READY", 1), document
    await nothing_waits(system)
    assert await dead_letters(system) == []


async def test_a_database_that_another_program_has_locked_is_waited_for(system: System) -> None:
    (process,) = system.workers
    pid = process.pid
    tickets = [await uploaded(system, draw(number)) for number in (401, 402)]
    promised = [await accepted(system, draw(403, width=3000, height=2000))]
    with locked(system.folder / "data" / "pipeline.db"):
        await refused_in_time(system, tickets[0], "locked")
    await complete_all(system, tickets, promised)
    assert process.running
    assert process.pid == pid


async def test_a_folder_that_cannot_be_written_is_waited_for(system: System) -> None:
    (process,) = system.workers
    tickets = [await uploaded(system, draw(number)) for number in (411, 412)]
    process.hold_decoding()
    promised = [await accepted(system, draw(413))]
    with unwritable(system.folder / "data" / "objects"):
        process.resume_forked()
        await refused_in_time(system, tickets[0], "unwritable")
    await complete_all(system, tickets, promised)
    assert process.running
