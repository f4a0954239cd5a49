"""Hostile code inside the decoding child: contained, named, and gone within a second."""

import asyncio
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from adapters.sandbox.engine import SandboxedEngine
from adapters.sandbox.limits import MIB, EngineLimits
from adapters.sandbox.lockdown import sandbox_features
from domain.failure import FailureCode
from tests.images.drawing import encoded, scene
from tests.images.hostile import FORGERIES, photo
from tests.images.rendering import code, failure, render
from tests.support.waiting import eventually

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(bool(sandbox_features().missing), reason="the kernel lacks a layer"),
]
LIMITS = EngineLimits(
    wall_seconds=3.0,
    cpu_seconds=2,
    address_space_bytes=256 * MIB,
    output_bytes=4 * MIB,
    concurrency=2,
)
REFUSED = [
    "open_passwd",
    "open_own_source",
    "list_root",
    "write_outside",
    "connect_tcp",
    "send_udp",
    "talk_to_unix_sockets",
    "fork_in_a_loop",
    "run_a_program",
    "kill_the_forkserver",
    "read_the_forkserver",
    "trace_the_forkserver",
    "make_memory_executable",
    "raise_a_limit",
]
DEADLY = ["stop_itself", "abort", "leave_early"]


@pytest.fixture(scope="module", params=["hostile", "hostile_vips"])
async def engine(request: pytest.FixtureRequest) -> AsyncGenerator[SandboxedEngine]:
    hostile = SandboxedEngine(f"tests.images.{request.param}", LIMITS)
    await hostile.open()
    yield hostile
    await hostile.close()


async def attack(engine: SandboxedEngine, name: str) -> FailureCode:
    """The code an attack ends in; the next photo must be finished within a second."""
    found = await code(engine, photo(name), "image/jpeg")
    began = time.monotonic()
    await render(engine, encoded(scene(64, 64), "JPEG"), "image/jpeg")
    assert time.monotonic() - began < 1
    return found


@pytest.mark.parametrize("name", REFUSED)
async def test_what_the_child_has_given_up_is_refused(
    engine: SandboxedEngine, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    mark = Path("/tmp/image-pipeline-was-here")
    mark.unlink(missing_ok=True)  # of a run whose sandbox was broken on purpose
    assert await attack(engine, name) is FailureCode.DECODER_CRASHED
    assert "PermissionError" in caplog.text or "Operation not permitted" in caplog.text
    assert "Found" not in caplog.text
    assert not mark.exists()


@pytest.mark.parametrize("name", DEADLY)
async def test_a_child_that_dies_is_a_crashed_decoder(engine: SandboxedEngine, name: str) -> None:
    assert await attack(engine, name) is FailureCode.DECODER_CRASHED


@pytest.mark.parametrize("name", sorted(FORGERIES))
async def test_a_forged_answer_is_a_crashed_decoder(engine: SandboxedEngine, name: str) -> None:
    assert await attack(engine, name) is FailureCode.DECODER_CRASHED


@pytest.mark.parametrize("name", ["allocate_64_gigabytes", "allocate_bit_by_bit"])
async def test_memory_beyond_the_limit_is_named_as_such(engine: SandboxedEngine, name: str) -> None:
    assert await attack(engine, name) is FailureCode.DECODE_OUT_OF_MEMORY


@pytest.mark.parametrize("name", ["spin_for_ever", "sleep_for_ever"])
async def test_a_child_that_goes_on_for_ever_is_killed(engine: SandboxedEngine, name: str) -> None:
    began = time.monotonic()
    assert await attack(engine, name) is FailureCode.DECODE_TIMEOUT
    assert time.monotonic() - began < LIMITS.wall_seconds + 1.5


async def test_a_file_cannot_grow_beyond_the_limit(
    engine: SandboxedEngine, caplog: pytest.LogCaptureFixture
) -> None:
    assert await attack(engine, "fill_the_disk") is FailureCode.DECODER_CRASHED
    assert "File too large" in caplog.text


async def test_the_child_knows_no_secret(
    engine: SandboxedEngine, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("S3_SECRET_KEY", "correct-horse")
    await engine.close()  # so that the forkserver is started with the secret in our environment
    caplog.set_level(logging.WARNING)
    assert await attack(engine, "tell_secrets") is FailureCode.DECODER_CRASHED
    assert "Found" in caplog.text
    assert "LC_ALL" in caplog.text
    assert "correct-horse" not in caplog.text


async def test_the_user_is_told_what_to_do_but_not_how_it_broke(engine: SandboxedEngine) -> None:
    failed = await failure(engine, photo("open_passwd"), "image/jpeg")
    assert "try again" in failed.detail
    assert "passwd" not in failed.detail


async def test_a_cancelled_render_leaves_no_child(engine: SandboxedEngine) -> None:
    task = asyncio.ensure_future(code(engine, photo("sleep_for_ever"), "image/jpeg"))
    assert engine.forkserver_pid is not None
    children = await eventually(lambda: _children(engine.forkserver_pid))
    began = time.monotonic()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert time.monotonic() - began < 1
    assert children
    assert not await _children(engine.forkserver_pid)


async def test_a_child_leads_a_group_of_its_own_and_is_the_first_to_go_when_memory_runs_out(
    engine: SandboxedEngine,
) -> None:
    async def settled(child: int) -> bool:
        score = Path(f"/proc/{child}/oom_score_adj").read_text().strip()
        return os.getpgid(child) == child and score == "1000"

    task = asyncio.ensure_future(code(engine, photo("sleep_for_ever"), "image/jpeg"))
    [child] = await eventually(lambda: _children(engine.forkserver_pid))
    await eventually(lambda: settled(child))
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_dead_forkserver_is_replaced(engine: SandboxedEngine) -> None:
    task = asyncio.ensure_future(code(engine, photo("sleep_for_ever"), "image/jpeg"))
    pid = engine.forkserver_pid
    assert pid is not None
    [child] = await eventually(lambda: _children(pid))
    os.kill(pid, signal.SIGKILL)
    assert await task is FailureCode.INTERNAL_ERROR
    await eventually(lambda: _gone(child))
    assert await attack(engine, "open_passwd") is FailureCode.DECODER_CRASHED
    assert engine.forkserver_pid != pid


async def test_nothing_outlives_a_worker_that_is_killed(tmp_path: Path) -> None:
    (tmp_path / "source").write_bytes(photo("sleep_for_ever"))
    (tmp_path / "output").mkdir()
    worker = subprocess.Popen(  # noqa: ASYNC220 - starting is quick, waiting is not done
        [sys.executable, "-c", WORKER, str(tmp_path)]
    )
    [forkserver] = await eventually(lambda: _children(worker.pid))
    [child] = await eventually(lambda: _children(forkserver))
    worker.kill()
    worker.wait()
    await eventually(lambda: _gone(forkserver))
    await eventually(lambda: _gone(child))


WORKER = """
import asyncio, sys
from pathlib import Path
from adapters.sandbox.engine import SandboxedEngine
from adapters.sandbox.limits import EngineLimits
from application.ports import RenderJob
from domain.recipe import default_recipe

async def main():
    folder = Path(sys.argv[1])
    job = RenderJob(
        source=folder / "source", folder=folder / "output", content_type="image/jpeg",
        recipe=default_recipe(),
    )
    await SandboxedEngine("tests.images.hostile", EngineLimits()).render(job, print)

asyncio.run(main())
"""


async def _children(parent: int | None) -> list[int]:
    """The processes whose parent is `parent`, from the fourth field of /proc/<pid>/stat."""
    found: list[int] = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == parent and fields[0] != "Z":
            found.append(int(stat.parent.name))
    return found


async def _gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True
