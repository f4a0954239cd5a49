"""One SQLite connection in a thread of its own, asked from asyncio.

A thread cannot be interrupted: whatever was begun in it ends, and only then is a cancellation
raised to the caller. So a cancelled task never leaves a step half-done or still running.
"""

import asyncio
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from adapters.threads import to_the_end
from domain.errors import InvalidConfiguration, Unavailable

T = TypeVar("T")
Work = Callable[[sqlite3.Connection], T]

BUSY_TIMEOUT_SECONDS = 5.0
_WAL_TRIES = 100
_SQLITE_MIN = (3, 37, 0)  # STRICT tables
_DEFECTS = frozenset({sqlite3.SQLITE_ERROR, sqlite3.SQLITE_MISUSE, sqlite3.SQLITE_RANGE})


class Connection:
    """Opened by the first use; `unavailable` is what the file's failures are raised as."""

    def __init__(
        self,
        path: Path,
        unavailable: type[Unavailable],
        *,
        busy_timeout_seconds: float = BUSY_TIMEOUT_SECONDS,
    ) -> None:
        if sqlite3.sqlite_version_info < _SQLITE_MIN:
            raise InvalidConfiguration(
                [f"SQLite 3.37 or newer is needed; this Python has {sqlite3.sqlite_version}."]
            )
        self._path = path
        self._unavailable = unavailable
        self._busy_timeout_seconds = busy_timeout_seconds
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=f"sqlite-{path.name}")
        self._connection: sqlite3.Connection | None = None
        self._closed = False

    async def run(self, work: Work[T]) -> T:
        """`work(connection)` in the thread; it has ended when this returns or raises.

        Raises the Unavailable of this file if it is locked for longer than the busy timeout, the
        disk is full or failing, or the connection closed. Defects keep the driver's error.
        """
        if self._closed:
            raise self._unavailable(f"{self._path.name} is closed")
        loop = asyncio.get_running_loop()
        return await to_the_end(loop.run_in_executor(self._thread, self._guarded, work))

    async def abandon(self) -> None:
        """Undo what is not committed, if anything; never fails."""
        if not self._closed:
            loop = asyncio.get_running_loop()
            await to_the_end(loop.run_in_executor(self._thread, self._undo))

    async def close(self) -> None:
        """Close the file, after what is under way; further use raises."""
        if self._closed:
            return
        self._closed = True
        loop = asyncio.get_running_loop()
        try:
            await to_the_end(loop.run_in_executor(self._thread, self._discard))
        finally:
            self._thread.shutdown(wait=False)

    def _guarded(self, work: Work[T]) -> T:
        try:
            return work(self._open())
        except sqlite3.DatabaseError as error:
            if not _is_outage(error):
                raise
            self._undo()
            raise self._unavailable(f"{self._path.name}: {error}") from error

    def _open(self) -> sqlite3.Connection:
        if self._connection is None:
            connection = sqlite3.connect(
                self._path, timeout=self._busy_timeout_seconds, isolation_level=None
            )
            try:
                _configure(connection)
            except BaseException:
                connection.close()
                raise
            self._connection = connection
        return self._connection

    def _undo(self) -> None:
        """After an I/O error even a rollback may fail; a new connection recovers from the file."""
        try:
            if self._connection is not None:
                rollback(self._connection)
        except sqlite3.Error:
            self._discard()

    def _discard(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()


def in_transaction(work: Work[T]) -> Work[T]:
    """`work` as one transaction: committed when it returns, undone when it raises."""

    def transact(connection: sqlite3.Connection) -> T:
        connection.execute("BEGIN IMMEDIATE")
        try:
            result = work(connection)
            connection.execute("COMMIT")
        except BaseException:
            rollback(connection)
            raise
        return result

    return transact


def rollback(connection: sqlite3.Connection) -> None:
    """End the transaction, unless SQLite has already done so because of an error."""
    if connection.in_transaction:
        connection.execute("ROLLBACK")


def _configure(connection: sqlite3.Connection) -> None:
    connection.row_factory = sqlite3.Row
    _use_write_ahead_log(connection)
    # FULL syncs the log at each commit; with less, a power cut takes back what was promised.
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA foreign_keys = ON")


def _use_write_ahead_log(connection: sqlite3.Connection) -> None:
    """The one statement for which SQLite does not wait while another opens the new file.

    An exclusive transaction does wait, so it is begun, for nothing else, before another try.
    """
    for _ in range(_WAL_TRIES):
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY:
                raise
            connection.execute("BEGIN EXCLUSIVE")
            connection.execute("ROLLBACK")
        else:
            return
    raise sqlite3.OperationalError("others keep the file from using a write-ahead log")


def _is_outage(error: sqlite3.DatabaseError) -> bool:
    """Whether the file is the reason (locked, full, failing, damaged) and not a statement."""
    if isinstance(error, sqlite3.IntegrityError | sqlite3.ProgrammingError | sqlite3.DataError):
        return False
    code: int | None = getattr(error, "sqlite_errorcode", None)
    return code is None or code & 0xFF not in _DEFECTS
