"""Room on a disk. That there is none is an outage of the machine, and no photo's fault."""

import errno
import os
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from domain.errors import DiskFull

MIB = 1024 * 1024
# What must be free before a photo is decoded: far more than the variants of a usual one take.
ROOM_BYTES = 64 * MIB
_FILES_MIN = 64
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
_BLOCK_BYTES = 512  # the unit of st_blocks, whatever the file system's own is


def free_bytes(folder: Path) -> int:
    """What we may still write below `folder`; 0 as well if it can take no more files."""
    status = os.statvfs(folder)
    if status.f_files and status.f_favail < _FILES_MIN:
        return 0
    return status.f_bavail * status.f_frsize


def require_room(folder: Path) -> None:
    """Raise DiskFull unless there is room for the variants of a photo."""
    if free_bytes(folder) < ROOM_BYTES:
        raise DiskFull(str(folder))


def is_filled_by_others(folder: Path) -> bool:
    """Whether a photo would have no room, even if nothing of it lay in `folder` yet.

    Measured, not asked of the child: one that fills the disk would say that others did.
    """
    own = sum(path.lstat().st_blocks * _BLOCK_BYTES for path in folder.iterdir())
    return free_bytes(folder) + own < ROOM_BYTES


def is_full(error: OSError) -> bool:
    """Whether this says that a disk, or our share of it, is full."""
    return error.errno in _FULL


@contextmanager
def full_disk_is_an_outage(folder: Path) -> Generator[None]:
    """Turns a write that finds no room, inside, into DiskFull. Other errors stay as they are."""
    try:
        yield
    except OSError as error:
        if not is_full(error):
            raise
        raise DiskFull(str(folder)) from error
