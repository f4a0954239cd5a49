"""Whoever looks at the processes sees what is true and does no harm. No collector takes spans."""

import asyncio
import json
import shutil
import signal
import sys
from collections import Counter
from collections.abc import AsyncGenerator
from typing import Any

import aiohttp
import pytest

from tests.e2e.asking import nothing_waits
from tests.e2e.photos import draw
from tests.e2e.sending import finished
from tests.support.process import free_port
from tests.support.product import ROOT
from tests.support.services import Services, unavailable
from tests.support.systems import SYSTEM_NAMES, System, machine, running

pytestmark = pytest.mark.anyio

WATCH_SECONDS = "0.2"
SCRAPE_SECONDS = 0.02


@pytest.fixture(scope="module", params=SYSTEM_NAMES)
async def system(
    request: pytest.FixtureRequest, services: Services, tmp_path_factory: pytest.TempPathFactory
) -> AsyncGenerator[System]:
    folder = tmp_path_factory.mktemp(f"looked-at-{request.param}")
    settings = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{free_port()}",
        "OTEL_BSP_SCHEDULE_DELAY": "100",
        "OTEL_EXPORTER_OTLP_TIMEOUT": "1",
    }
    async with running(request.param, services, folder, settings=settings) as opened:
        yield opened


def pages_of(system: System) -> list[str]:
    """Where metrics are shown."""
    return [f"http://127.0.0.1:{process.port}/metrics" for process in system.processes.values()]


async def test_promtool_finds_nothing_wrong_with_any_page(system: System) -> None:
    program = shutil.which("promtool") or unavailable("apt-get install prometheus")
    assert (await finished(system, draw(800)))["status"] == "READY"
    for url in pages_of(system):
        async with system.session.get(url) as answer:
            page = await answer.read()
        checking = await asyncio.create_subprocess_exec(
            *(program, "check", "metrics"),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        said, _ = await checking.communicate(page)
        assert (checking.returncode, said) == (0, b""), url


async def test_status_that_watches_follows_what_happens(system: System) -> None:
    await nothing_waits(system)
    watching = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "entrypoints.cli", "status", "--watch", WATCH_SECONDS, "--json"),
        cwd=ROOT,
        env={**machine(system.folder), **system.environment},
        stdout=asyncio.subprocess.PIPE,
        preexec_fn=_listen_to_interrupts,
    )
    assert watching.stdout is not None

    async def ready() -> int:
        assert watching.stdout is not None
        status: dict[str, Any] = json.loads(await watching.stdout.readline())
        return status["media"]["READY"]["count"]

    async with asyncio.timeout(30):
        before = await ready()
        await finished(system, draw(801))
        while await ready() == before:
            pass
        watching.send_signal(signal.SIGINT)
        await watching.communicate()
    assert watching.returncode == 130


def _listen_to_interrupts() -> None:
    """Whoever runs these tests in the background has SIGINT ignored, and children inherit that."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


async def test_scrapes_at_any_moment_of_a_process_are_answered_or_refused(system: System) -> None:
    """The last test here: afterwards nothing runs any more."""
    answers = Counter[int]()

    async def scrape_for_ever(url: str) -> None:
        while True:
            try:
                async with system.session.get(url) as answer:
                    answers[answer.status] += 1
                    assert (await answer.read()).endswith(b"\n")
            except aiohttp.ClientError:
                pass  # it is not there yet, or has just gone
            await asyncio.sleep(SCRAPE_SECONDS)

    scraping = [asyncio.create_task(scrape_for_ever(url)) for url in pages_of(system)]
    processes = system.processes.values()
    assert set(await asyncio.gather(*(process.stop() for process in processes))) == {0}
    for process in processes:
        process.start()
    await system.whole()
    assert (await finished(system, draw(802)))["status"] == "READY"
    assert set(await asyncio.gather(*(process.stop() for process in processes))) == {0}
    for task in scraping:
        task.cancel()
    outcomes = await asyncio.gather(*scraping, return_exceptions=True)
    assert {type(outcome) for outcome in outcomes} == {asyncio.CancelledError}
    assert set(answers) == {200}
    for process in processes:
        lines = [json.loads(line) for line in process.output().splitlines()]
        assert {line["event"] for line in lines if line["level"] not in {"info", "debug"}} <= {
            "trace_export_failing"
        }
        assert len(process.events("trace_export_failing")) <= process.starts
    assert system.api.events("trace_export_failing")
