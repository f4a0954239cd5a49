"""What the operator's tools share: the set they work on, and how they speak."""

import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import msgspec
from rich.console import Console
from rich.table import Table
from rich.text import Text

from adapters.logs import configure_logging
from adapters.postgres.database import PostgresDatabase
from adapters.sqlite import SqliteDatabase
from application.ports import Database, Overview
from application.reprocess_media import ReprocessMedia
from domain.errors import InvalidConfiguration
from domain.lifecycle import State
from entrypoints.bootstrap import secrets_of
from entrypoints.settings import LogFormat, Role, Settings, load, names_servers

WIDTH_OF_A_FILE = 160
_NOTHING_HERE = (
    "There is no embedded pipeline in {}: set DATA_DIR to its folder, or DATABASE_URL and the "
    "other servers to those of a production set."
)
COLOURS = {state.value: "yellow" for state in State} | {
    State.READY.value: "green",
    State.FAILED.value: "red",
    State.EXPIRED.value: "dim",
    State.DELETED.value: "dim",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Desk:
    """What an operator works with. `where` names the set, for people."""

    settings: Settings
    database: Database
    overview: Overview
    where: str

    def reprocess(self) -> ReprocessMedia:
        return ReprocessMedia(database=self.database, policy=self.settings.retry_policy())


@asynccontextmanager
async def desk() -> AsyncGenerator[Desk]:
    """The set that the environment names; log lines go to stderr.

    Raises InvalidConfiguration, also where there is no embedded pipeline.
    """
    settings = load(Role.OPERATOR)
    log_to_stderr(settings)
    if names_servers():
        database = await PostgresDatabase.connect(settings.database_url, pool_size=2)
        where = "production"
    else:
        database = await _embedded_database(settings)
        where = f"embedded, in {settings.data_dir}"
    try:
        yield Desk(settings=settings, database=database, overview=database.overview, where=where)
    finally:
        await database.close()


async def _embedded_database(settings: Settings) -> SqliteDatabase:
    """Looking must not make a new and empty one."""
    path = settings.data_dir / "pipeline.db"
    if not path.exists():
        raise InvalidConfiguration([_NOTHING_HERE.format(settings.data_dir.resolve())])
    return await SqliteDatabase.open(path)


def log_to_stderr(settings: Settings) -> None:
    """Stdout belongs to the answer."""
    configure_logging(
        service="operator",
        json=None if settings.log_format is LogFormat.AUTO else settings.log_format == "json",
        level=settings.log_level,
        secrets=secrets_of(settings),
        stream=sys.stderr,
    )


def terminal() -> Console:
    """Stdout. A table in a file is as wide as it needs to be, so that nothing is cut off."""
    width = None if sys.stdout.isatty() else WIDTH_OF_A_FILE
    return Console(highlight=False, markup=False, width=width)


def print_json(value: Any) -> None:
    """One line of JSON."""
    sys.stdout.write(msgspec.json.encode(value).decode() + "\n")
    sys.stdout.flush()


class Rows(Table):
    """A table of texts that others may have chosen."""

    def row(self, *cells: str | Text) -> None:
        self.add_row(*(cell if isinstance(cell, Text) else printable(cell) for cell in cells))


def printable(text: str) -> str:
    """Control characters spelled out: nobody's text may steer the operator's terminal."""
    return "".join(
        one if one.isprintable() else one.encode("unicode_escape").decode() for one in text
    )


def table(*columns: str, title: str | None = None) -> Rows:
    """A table whose first column, an id, is never broken."""
    found = Rows(title=title, title_justify="left", title_style="bold")
    for number, column in enumerate(columns):
        found.add_column(column, no_wrap=number == 0, overflow="fold")
    return found


def coloured(state: str) -> Text:
    """Whatever is no state of ours is an error."""
    return Text(state, style=COLOURS.get(state, "red"))


def moment(time: datetime | None) -> str:
    return time.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S") if time else ""


def age(seconds: float) -> str:
    """`45 s`, `3 min`, `2.5 h`, `4.0 d`."""
    if seconds < 120:  # noqa: PLR2004 - two minutes
        return f"{seconds:.0f} s"
    for unit, length in (("d", 86_400), ("h", 3600)):
        if seconds >= 2 * length:
            return f"{seconds / length:.1f} {unit}"
    return f"{seconds / 60:.0f} min"
