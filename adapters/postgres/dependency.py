"""Whether PostgreSQL can do its work now."""

from adapters.postgres.connections import Connections
from adapters.postgres.migrations import NEWEST, too_old
from application.ports import Dependency
from domain.errors import DatabaseUnavailable

_CHECK = """
SELECT max(version) AS version, current_setting('transaction_read_only') = 'on' AS read_only
FROM schema_migrations
"""


class PostgresDependency(Dependency):
    """There, writable, and with a schema at least as new as this release."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections

    @property
    def name(self) -> str:
        return "postgres"

    async def check(self) -> None:
        async with self._connections.use() as connection:
            row = await connection.fetchrow(_CHECK)
        version = (row["version"] if row else None) or 0
        if version < NEWEST:
            raise DatabaseUnavailable(too_old(version))
        if row and row["read_only"]:
            raise DatabaseUnavailable("the database is read-only: not the primary server")
