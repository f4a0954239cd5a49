"""What the contract suite cannot ask of the SQLite database: cancellation, outages, clocks."""

import asyncio
import resource
import signal
import sqlite3
import subprocess
import sys
from collections.abc import AsyncGenerator, Generator
from contextlib import closing, contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from adapters.sqlite import SqliteDatabase
from adapters.sqlite.connection import Connection
from adapters.sqlite.times import SteadyTime, from_micros, to_micros
from domain.errors import DatabaseUnavailable, VersionConflict
from tests.support import builders

pytestmark = pytest.mark.anyio

_COMMIT_FOR_EVER = """
import asyncio, sys
from pathlib import Path
from adapters.sqlite import SqliteDatabase
from tests.support import builders

async def main():
    database = await SqliteDatabase.open(Path(sys.argv[1]))
    for number in range(100_000):
        async with database.begin() as uow:
            await uow.media.add(builders.uploaded(number))
            await uow.enqueue(builders.request(number))
            await uow.commit()
        print(number, flush=True)

asyncio.run(main())
"""


@pytest.fixture
async def database(tmp_path: Path) -> AsyncGenerator[SqliteDatabase]:
    database = await SqliteDatabase.open(tmp_path / "db", busy_timeout_seconds=0.2)
    yield database
    assert database.connections_in_use == 0
    await database.dependency.check()
    await database.close()


async def _store(database: SqliteDatabase, number: int) -> None:
    async with database.begin() as uow:
        await uow.media.add(builders.pending(number))
        await uow.commit()


async def _stored(database: SqliteDatabase) -> int:
    return sum((await database.overview.totals()).values())


async def test_a_task_cancelled_at_any_step_leaves_no_transaction_open(
    database: SqliteDatabase,
) -> None:
    """Cancelled after every possible number of turns of the loop, from none to a whole run."""
    for turns in range(60):
        task = asyncio.create_task(_store(database, turns))
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        assert database.connections_in_use == 0
        async with database.begin() as uow:
            await uow.media.get(builders.ulid(1))


async def test_a_commit_that_was_cancelled_too_late_still_wakes_the_dispatcher(
    database: SqliteDatabase,
) -> None:
    async def enqueue() -> None:
        async with database.begin() as uow:
            await uow.enqueue(builders.request(1))
            committing.set()
            await uow.commit()

    committing = asyncio.Event()
    task = asyncio.create_task(enqueue())
    await committing.wait()
    task.cancel()  # The thread has the commit already, and a thread cannot be stopped.
    with pytest.raises(asyncio.CancelledError):
        await task
    begun = asyncio.get_running_loop().time()
    await database.hint.wait(5.0)
    assert asyncio.get_running_loop().time() - begun < 1.0
    assert len(await database.relay.claim(limit=9, hold_seconds=1)) == 1


async def test_an_error_in_a_transaction_ends_its_use(database: SqliteDatabase) -> None:
    await _store(database, 1)
    async with database.begin() as uow:
        await uow.media.add(builders.pending(2))
        await uow.media.add(builders.pending(1))
        with pytest.raises(VersionConflict):
            await uow.commit()
        with pytest.raises(AssertionError):
            await uow.commit()
    assert await _stored(database) == 1


async def test_a_transaction_cannot_be_used_after_its_commit(database: SqliteDatabase) -> None:
    async with database.begin() as uow:
        await uow.commit()
        with pytest.raises(AssertionError):
            await uow.media.add(builders.pending(1))
        with pytest.raises(AssertionError):
            await uow.media.get(builders.ulid(1))


async def test_a_value_made_from_an_older_one_is_refused(database: SqliteDatabase) -> None:
    await _store(database, 1)
    async with database.begin() as uow:
        old = await uow.media.get(builders.ulid(1), lock=True)
        assert old is not None
        change = old.expire(now=old.upload_expires_at + timedelta(days=1))
        await uow.media.save(change.media)
        await uow.commit()
    async with database.begin() as uow:
        await uow.media.get(builders.ulid(1), lock=True)
        with pytest.raises(VersionConflict):
            await uow.media.save(change.media)


async def test_a_writer_in_another_process_is_waited_for_and_then_given_up(
    database: SqliteDatabase, tmp_path: Path
) -> None:
    with closing(sqlite3.connect(tmp_path / "db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(DatabaseUnavailable) as refused:
            await _store(database, 1)
        assert isinstance(refused.value.__cause__, sqlite3.OperationalError)
        with pytest.raises(DatabaseUnavailable):
            await database.relay.claim(limit=1, hold_seconds=1)
        assert await _stored(database) == 0  # Reading goes on.
        other.execute("ROLLBACK")
    await _store(database, 1)


async def test_a_transaction_that_does_not_end_is_not_waited_for_for_ever(
    database: SqliteDatabase,
) -> None:
    async with database.begin():
        with pytest.raises(DatabaseUnavailable, match="do not end"):
            await database.dependency.check()


async def _fill_up(database: SqliteDatabase) -> None:
    for number in range(1000, 2000):
        await _store(database, number)


async def test_a_disk_that_takes_no_more_is_an_outage_that_passes(
    database: SqliteDatabase, tmp_path: Path
) -> None:
    await _store(database, 1)
    with _files_end_at((tmp_path / "db-wal").stat().st_size + 20_000):
        with pytest.raises(DatabaseUnavailable):
            await _fill_up(database)
        before = await _stored(database)
        with pytest.raises(DatabaseUnavailable):
            await _store(database, 2)
    await _store(database, 2)
    assert await _stored(database) == before + 1


@contextmanager
def _files_end_at(size: int) -> Generator[None]:
    """No file of this process may grow beyond `size` bytes, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


async def test_a_step_that_fails_leaves_no_transaction_in_the_thread(tmp_path: Path) -> None:
    def fail(connection: sqlite3.Connection) -> None:
        connection.execute("BEGIN IMMEDIATE")
        raise sqlite3.OperationalError("disk I/O error")

    connection = Connection(tmp_path / "db", DatabaseUnavailable)
    with pytest.raises(DatabaseUnavailable):
        await connection.run(fail)
    assert not await connection.run(lambda c: c.in_transaction)
    await connection.close()


async def test_a_damaged_file_is_an_outage_and_no_defect(tmp_path: Path) -> None:
    (tmp_path / "db").write_bytes(b"not a database, whatever its name says" * 100)
    with pytest.raises(DatabaseUnavailable):
        await SqliteDatabase.open(tmp_path / "db")


async def test_a_closed_database_is_unavailable(tmp_path: Path) -> None:
    database = await SqliteDatabase.open(tmp_path / "db")
    await database.close()
    await database.close()
    with pytest.raises(DatabaseUnavailable):
        await _store(database, 1)


async def test_every_commit_that_was_told_survives_a_kill(tmp_path: Path) -> None:
    command = [sys.executable, "-c", _COMMIT_FOR_EVER, str(tmp_path / "db")]
    told = _kill_after(command, lines=5)
    database = await SqliteDatabase.open(tmp_path / "db")
    count = await _stored(database)
    assert count > told
    rows = await database.relay.claim(limit=1000, hold_seconds=1)
    assert len(rows) == count  # State and message, or neither.
    await database.close()


def _kill_after(command: list[str], *, lines: int) -> int:
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    for _ in range(lines):
        process.stdout.readline()
    process.send_signal(signal.SIGKILL)
    rest = process.communicate()[0]
    return lines - 1 + rest.count("\n")


async def test_what_was_enqueued_by_another_process_is_found_by_polling(
    database: SqliteDatabase, tmp_path: Path
) -> None:
    other = await SqliteDatabase.open(tmp_path / "db")
    async with other.begin() as uow:
        await uow.enqueue(builders.request(1))
        await uow.commit()
    await other.close()
    await database.hint.wait(0.01)
    assert len(await database.relay.claim(limit=1, hold_seconds=1)) == 1


async def test_time_comes_from_the_clock_and_never_goes_back(tmp_path: Path) -> None:
    start = datetime(2026, 1, 1, tzinfo=UTC)
    times = iter([start, start - timedelta(hours=1), start + timedelta(seconds=5)])
    database = await SqliteDatabase.open(tmp_path / "db", clock=lambda: next(times))
    seen: list[datetime] = []
    for _ in range(3):
        async with database.begin() as uow:
            seen.append(uow.now)
    await database.close()
    assert seen[0] == start
    assert start < seen[1] < start + timedelta(seconds=5)
    assert seen[2] == start + timedelta(seconds=5)


def test_while_the_wall_clock_is_behind_time_goes_on_by_the_ticks() -> None:
    start, ticks = datetime(2026, 1, 1, tzinfo=UTC), iter([0.0, 2.0, 5.0])
    time = SteadyTime(lambda: next(ticks))
    behind = start - timedelta(days=1)
    seen = [time.advance(wall) for wall in (start, behind, behind)]
    assert seen == [start, start + timedelta(seconds=2), start + timedelta(seconds=5)]


async def test_without_a_clock_time_is_that_of_sqlite(database: SqliteDatabase) -> None:
    async with database.begin() as uow:
        assert abs(datetime.now(UTC) - uow.now) < timedelta(seconds=1)


def test_times_are_kept_to_the_microsecond() -> None:
    for moment in (builders.NOW, datetime(1969, 12, 31, 23, 59, 59, 999999, tzinfo=UTC)):
        assert from_micros(to_micros(moment)) == moment
