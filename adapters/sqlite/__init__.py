"""The embedded set's database and queue: two SQLite files, no server."""

from adapters.sqlite.database import SqliteDatabase

__all__ = ["SqliteDatabase"]
