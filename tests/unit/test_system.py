"""The real clock, ids and scratch space."""

import asyncio
import errno
import fcntl
import re
import signal
import subprocess
import sys
from contextlib import AsyncExitStack
from datetime import timedelta
from pathlib import Path

import pytest

from adapters.system import SystemIds, TempScratch, utc_now
from domain.errors import DiskFull

pytestmark = pytest.mark.anyio

_HOLD_A_FOLDER = """
import asyncio, sys
from pathlib import Path
from adapters.system import TempScratch

async def main():
    async with TempScratch(Path(sys.argv[1])).folder() as folder:
        (folder / "original").write_bytes(b"half a photo")
        print(folder, flush=True)
        await asyncio.Event().wait()

asyncio.run(main())
"""


def test_the_clock_is_utc_and_aware() -> None:
    assert utc_now().utcoffset() == timedelta(0)


def test_media_ids_are_ulids_and_no_id_gives_away_the_next() -> None:
    ids = [SystemIds().media_id() for _ in range(100)]
    shared = SystemIds()
    ids += [shared.media_id() for _ in range(100)]
    assert all(re.fullmatch(r"[0-9A-HJKMNP-TV-Z]{26}", each) for each in ids)
    randoms = {each[10:20] for each in ids}
    assert len(randoms) == len(ids)


def test_fractions_lie_in_the_half_open_unit_interval_and_differ() -> None:
    ids = SystemIds()
    fractions = [ids.fraction() for _ in range(100)]
    assert all(0 <= each < 1 for each in fractions)
    assert len(set(fractions)) > 90


def test_a_worker_id_is_readable_and_new_at_every_start() -> None:
    first, second = SystemIds().worker_id(), SystemIds().worker_id()
    assert re.fullmatch(r"worker-[a-z2-7]{12}", first)
    assert first != second


async def test_a_scratch_folder_is_private_empty_and_gone_afterwards(tmp_path: Path) -> None:
    scratch = TempScratch(tmp_path / "made" / "on demand")
    async with scratch.folder() as folder:
        assert folder.stat().st_mode & 0o777 == 0o700
        assert list(folder.iterdir()) == []
        (folder / "deep").mkdir()
        (folder / "deep" / "file").write_bytes(b"x")
    assert not folder.exists()
    await scratch.close()
    assert list((tmp_path / "made" / "on demand").iterdir()) == []


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
async def test_a_full_disk_is_an_outage_and_no_fault_of_the_photo(
    tmp_path: Path, number: int
) -> None:
    with pytest.raises(DiskFull):
        async with TempScratch(tmp_path).folder():
            raise OSError(number, "whatever the system says")
    with pytest.raises(PermissionError):
        async with TempScratch(tmp_path).folder():
            raise PermissionError(errno.EACCES, "not our business")


async def test_two_attempts_never_share_a_folder(tmp_path: Path) -> None:
    scratch = TempScratch(tmp_path)
    async with AsyncExitStack() as stack:
        folders = [await stack.enter_async_context(scratch.folder()) for _ in range(3)]
        assert len(set(folders)) == 3


async def test_a_cancelled_attempt_leaves_nothing_behind(tmp_path: Path) -> None:
    scratch = TempScratch(tmp_path)
    inside: asyncio.Future[Path] = asyncio.get_running_loop().create_future()

    async def attempt() -> None:
        async with scratch.folder() as folder:
            (folder / "file").write_bytes(b"x")
            inside.set_result(folder)
            await asyncio.Event().wait()

    task = asyncio.create_task(attempt())
    folder = await inside
    task.cancel()
    await asyncio.sleep(0)
    task.cancel()  # A second one, while the folder is being removed.
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not folder.exists()


async def test_the_folders_of_a_killed_process_are_swept_and_no_others(tmp_path: Path) -> None:
    scratch = TempScratch(tmp_path)
    other = tmp_path / "image-pipeline-scratch-but-a-file"
    other.write_text("not a folder")
    process = _start_holder(tmp_path)
    assert process.stdout is not None
    folder = Path(process.stdout.readline().strip())
    async with scratch.folder() as mine:
        assert await scratch.sweep_leftovers() == 0
        assert (folder / "original").exists()
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert (folder / "original").exists()
        assert await TempScratch(tmp_path).sweep_leftovers() == 1
        assert not folder.parent.exists()
        assert mine.exists()
    assert other.exists()


async def test_nothing_that_a_cleaner_of_old_files_may_take_holds_the_folder(
    tmp_path: Path,
) -> None:
    scratch = TempScratch(tmp_path)
    async with scratch.folder() as mine:
        for file in mine.parent.iterdir():
            if file.is_file():
                file.unlink()
        assert await TempScratch(tmp_path).sweep_leftovers() == 0
        assert mine.exists()
    await scratch.close()


def _start_holder(root: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", _HOLD_A_FOLDER, str(root)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


async def test_a_file_system_without_locks_is_refused_and_not_tried_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries: list[int] = []

    def unsupported(descriptor: int, _operation: int) -> None:
        tries.append(descriptor)
        assert len(tries) < 3, "tried for ever"
        raise OSError(errno.EOPNOTSUPP, "Operation not supported")

    monkeypatch.setattr(fcntl, "flock", unsupported)
    with pytest.raises(OSError, match="not supported"):
        async with TempScratch(tmp_path).folder():
            pass
