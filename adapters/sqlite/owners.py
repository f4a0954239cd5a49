"""Who else has the queue's file open: a lock that the kernel drops with its process."""

import fcntl
import os
from pathlib import Path

from domain.errors import BrokerUnavailable


class Owners:
    """A shared lock on `path`, held while this broker is open."""

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)

    def is_alone(self) -> bool:
        """Whether no other broker has the file open; from then on others wait for `join`."""
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError as error:
            raise BrokerUnavailable(f"the queue's lock file cannot be locked: {error}") from error
        return True

    def join(self) -> None:
        """Be one of the owners; waits for one that is just looking whether it is alone."""
        fcntl.flock(self._descriptor, fcntl.LOCK_SH)

    def leave(self) -> None:
        os.close(self._descriptor)
