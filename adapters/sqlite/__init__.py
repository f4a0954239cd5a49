"""The embedded set's database and queue: two SQLite files, no server."""

from adapters.sqlite.broker import SqliteBroker
from adapters.sqlite.database import SqliteDatabase

__all__ = ["SqliteBroker", "SqliteDatabase"]
