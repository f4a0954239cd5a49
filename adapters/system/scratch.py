"""Room on disk for attempts, cleared of what killed processes left behind.

Each process keeps its attempts' folders in one folder of its own, on which it holds a lock for
as long as it lives. The kernel drops the lock with the process, however that
ends, so whoever can take the lock of a folder knows that its owner is gone.
"""

import os
import shutil
import tempfile
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from adapters.disk_room import full_disk_is_an_outage
from adapters.file_locks import try_lock_folder
from adapters.threads import run_to_the_end
from application.ports import Scratch

PREFIX = "image-pipeline-scratch-"


class TempScratch(Scratch):
    """Folders below `root`, the system's temporary folder by default; private (0700)."""

    def __init__(self, root: Path | None = None) -> None:
        self._root = root or Path(tempfile.gettempdir())
        self._own: Path | None = None
        self._lock = -1

    @asynccontextmanager
    async def folder(self) -> AsyncGenerator[Path]:
        with full_disk_is_an_outage(self._root):
            own = self._own or self._claim_own()
            attempt = Path(tempfile.mkdtemp(dir=own))
            try:
                yield attempt
            finally:
                await run_to_the_end(lambda: _remove(attempt))

    async def sweep_leftovers(self) -> int:
        """Remove what processes that have died left below `root`; how many of them."""
        return await run_to_the_end(lambda: _sweep(self._root))

    async def close(self) -> None:
        """Remove this process's own folder; a later `folder` makes a new one."""
        own, lock = self._own, self._lock
        self._own, self._lock = None, -1
        if own is not None:
            await run_to_the_end(lambda: _remove(own))
            os.close(lock)

    def _claim_own(self) -> Path:
        """A few system calls, made without a thread so that no second task comes between."""
        self._root.mkdir(parents=True, exist_ok=True)
        while self._own is None:
            candidate = Path(tempfile.mkdtemp(prefix=PREFIX, dir=self._root))
            lock = try_lock_folder(candidate)
            if lock is not None:
                self._own, self._lock = candidate, lock
        return self._own


def _sweep(root: Path) -> int:
    removed = 0
    for folder in sorted(root.glob(f"{PREFIX}*")):
        if not _is_ours(folder):
            continue
        lock = try_lock_folder(folder)
        if lock is not None:
            _remove(folder)
            os.close(lock)
            removed += 1
    return removed


def _is_ours(folder: Path) -> bool:
    """A real folder of this user: the temporary folder is open to others."""
    with suppress(OSError):
        status = folder.stat(follow_symlinks=False)
        return folder.is_dir() and not folder.is_symlink() and status.st_uid == os.getuid()
    return False


def _remove(folder: Path) -> None:
    """Everything in it too; what a dying child still writes is left to a sweep, if to nobody."""
    for _ in range(3):
        shutil.rmtree(folder, ignore_errors=True)
        if not folder.exists():
            return
