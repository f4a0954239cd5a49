"""The schema, in numbered steps: `0001_what_it_does.sql` beside this file.

A step is never edited once it is released; a new one is appended. Each runs in a transaction of
its own together with its row in `schema_migrations`. Steps must leave the schema usable by the
release before, whose processes run on while a new one is rolled out.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files

from adapters.postgres.connections import Connection, connect_alone
from adapters.postgres.errors import Translating
from domain.errors import InvalidConfiguration

_FILE = re.compile(r"(\d{4})_\w+\.sql")
_LOCK = 0x696D_6167_6570  # any number, as long as every release uses the same
_LOCK_SECONDS = 120.0
_STEP_SECONDS = 3600.0


@dataclass(frozen=True, slots=True)
class Step:
    """One file."""

    version: int
    name: str
    sql: str


def load_steps() -> tuple[Step, ...]:
    """Every step, in order; the numbers run from 1 without a gap."""
    found = sorted(
        (int(match[1]), entry.name, entry.read_text(encoding="utf-8"))
        for entry in files(__package__ or __name__).iterdir()
        if (match := _FILE.fullmatch(entry.name))
    )
    steps = tuple(Step(*fields) for fields in found)
    assert [step.version for step in steps] == list(range(1, len(steps) + 1)), "a gap in the steps"
    return steps


STEPS = load_steps()
NEWEST = STEPS[-1].version


async def migrate(url: str, *, connect_seconds: float = 3.0) -> Sequence[str]:
    """Bring the schema up to this release; returns the names of the steps that were missing.

    Safe to repeat and to run several times at once. Raises InvalidConfiguration, having changed
    nothing, if the database belongs to a newer release.
    """
    connection = await connect_alone(url, seconds=connect_seconds)
    try:
        with Translating():
            # Held by the session, not a transaction, so each step can commit on its own.
            await connection.execute(f"SELECT pg_advisory_lock({_LOCK})", timeout=_LOCK_SECONDS)
            return await _apply_missing(connection)
    finally:
        connection.terminate()


async def check_migrated(url: str, *, connect_seconds: float = 3.0) -> None:
    """Raises InvalidConfiguration if the schema is older than this release needs.

    A newer one is no error here: while a release is rolled out, old processes see it.
    """
    connection = await connect_alone(url, seconds=connect_seconds)
    try:
        with Translating():
            version = await _version(connection)
    finally:
        connection.terminate()
    if version < NEWEST:
        raise InvalidConfiguration([too_old(version)])


def too_old(version: int) -> str:
    """The sentence for a schema that lacks steps."""
    return (
        f"The database schema is at version {version}, this release needs {NEWEST}: "
        "run `pipeline migrate` first."
    )


def _too_new(version: int) -> str:
    return (
        f"The database schema is at version {version}, this release knows only up to {NEWEST}: "
        "install the newer release; nothing was changed."
    )


async def _apply_missing(connection: Connection) -> Sequence[str]:
    version = await _version(connection)
    if version > NEWEST:
        raise InvalidConfiguration([_too_new(version)])
    missing = STEPS[version:]
    for step in missing:
        await _apply(connection, step)
    return [step.name for step in missing]


async def _version(connection: Connection) -> int:
    if await connection.fetchval("SELECT to_regclass('schema_migrations') IS NULL"):
        return 0
    return await connection.fetchval("SELECT coalesce(max(version), 0) FROM schema_migrations")


async def _apply(connection: Connection, step: Step) -> None:
    """A transaction; if it fails, the connection is closed and the server undoes it."""
    await connection.execute("BEGIN")
    await connection.execute(_TABLE)
    await connection.execute(step.sql, timeout=_STEP_SECONDS)
    await connection.fetch(
        "INSERT INTO schema_migrations (version, name) VALUES ($1, $2)", step.version, step.name
    )
    await connection.execute("COMMIT")


_TABLE = """
CREATE TABLE IF NOT EXISTS schema_migrations (
    version    integer     PRIMARY KEY,
    name       text        NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now()
)
"""
