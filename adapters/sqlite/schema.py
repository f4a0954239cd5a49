"""Brings a file to the schema of this release, one numbered step after the other."""

import sqlite3
from collections.abc import Iterator
from importlib.resources import files
from importlib.resources.abc import Traversable

from adapters.sqlite.connection import in_transaction
from domain.errors import InvalidConfiguration


def migrate(connection: sqlite3.Connection, package: str) -> None:
    """Take the steps that `package` has and the file has not, all or none of them.

    Safe from several processes at once. Raises InvalidConfiguration if the file was written by
    a newer release.
    """
    steps = _steps(package)
    in_transaction(lambda inside: _take(inside, steps))(connection)


def _take(connection: sqlite3.Connection, steps: list[str]) -> None:
    version = int(connection.execute("PRAGMA user_version").fetchone()[0])
    if version > len(steps):
        raise InvalidConfiguration([_too_new(connection, version, len(steps))])
    for step in steps[version:]:
        for statement in _statements(step):
            connection.execute(statement)
    connection.execute(f"PRAGMA user_version = {len(steps)}")


def _steps(package: str) -> list[str]:
    """The SQL of 0001_*.sql, 0002_*.sql, …, in that order and without a gap."""
    found = sorted((e for e in files(package).iterdir() if e.name.endswith(".sql")), key=_number)
    if [_number(entry) for entry in found] != list(range(1, len(found) + 1)):
        raise ValueError(f"the migrations in {package} are not numbered 1, 2, 3, ...")
    return [entry.read_text(encoding="utf-8") for entry in found]


def _number(entry: Traversable) -> int:
    return int(entry.name.split("_")[0])


def _statements(script: str) -> Iterator[str]:
    """Each statement alone: `executescript` would commit between them."""
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""


def _too_new(connection: sqlite3.Connection, version: int, known: int) -> str:
    path = connection.execute("PRAGMA database_list").fetchone()["file"]
    return (
        f"The file {path} has schema version {version}, written by a newer release; this one"
        f" knows versions up to {known}: install the newer release or use another folder."
    )
