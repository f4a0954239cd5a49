"""Locks on files that say whether their owner lives: the kernel drops them with the process.

A process id would not tell: it is used again, and means another process in another container.
"""

import fcntl
import os
from pathlib import Path


def try_lock(path: Path) -> int | None:
    """A descriptor that holds the lock on the file, made if need be; None if another has it.

    Who cleans up after the dead removes a file while holding its lock, so a lock is only good if
    the file is still the one under that name. Raises OSError where the file system has no locks.
    """
    return _try_lock(path, os.O_RDWR | os.O_CREAT)


def try_lock_folder(path: Path) -> int | None:
    """The same for a folder that is there. What cleans temporary folders leaves a locked one alone.

    A file in it, made once and never written again, would be taken for forgotten.
    """
    return _try_lock(path, os.O_RDONLY | os.O_DIRECTORY)


def _try_lock(path: Path, flags: int) -> int | None:
    try:
        descriptor = os.open(path, flags | os.O_NOFOLLOW, 0o600)
    except OSError:
        return None
    is_held = False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        is_held = os.path.samestat(os.fstat(descriptor), path.stat(follow_symlinks=False))
    except (BlockingIOError, FileNotFoundError):
        return None
    finally:
        if not is_held:
            os.close(descriptor)
    return descriptor if is_held else None
