"""PostgreSQL: there, ours to use, migrated, and with a clock like ours."""

from datetime import datetime

from adapters.postgres.connections import Connection, connect_alone
from adapters.postgres.errors import Translating
from adapters.postgres.migrations import check_migrated
from adapters.system import utc_now
from domain.errors import DatabaseUnavailable, InvalidConfiguration
from entrypoints.settings import Settings
from entrypoints.tools.doctor.findings import (
    Finding,
    Findings,
    address,
    causes,
    clock_finding,
    failed,
    ok,
    unreachable,
)

CHECK = "database"
CONNECT_SECONDS = 5.0
_QUESTION = """
SELECT current_setting('server_version') AS version, clock_timestamp() AS now,
    current_setting('transaction_read_only') = 'on' AS read_only
"""
_CREDENTIALS = {"InvalidPasswordError", "InvalidAuthorizationSpecificationError"}


async def examine_database(settings: Settings) -> Findings:
    url = settings.database_url
    try:
        connection = await connect_alone(url, seconds=CONNECT_SECONDS)
    except (DatabaseUnavailable, InvalidConfiguration) as error:
        yield _no_connection(error, url)
        return
    try:
        async for finding in _ask(connection, url):
            yield finding
    except DatabaseUnavailable as error:
        yield failed(CHECK, f"{error}.", "Look into the log of PostgreSQL.")
        return
    finally:
        connection.terminate()
    yield await _schema(url)


async def _ask(connection: Connection, url: str) -> Findings:
    with Translating():
        row = await connection.fetchrow(_QUESTION, timeout=CONNECT_SECONDS)
        assert row is not None, "a SELECT without FROM has one row"
    now: datetime = row["now"]
    if row["read_only"]:
        yield failed(
            CHECK,
            f"The database at {address(url)} is read-only.",
            "Let DATABASE_URL lead to the primary server, not to a replica.",
        )
    else:
        yield ok(CHECK, f"PostgreSQL {row['version']} answers at {address(url)}.")
    yield clock_finding(
        "clock", "the database", now - utc_now(), "Times in logs and answers do not fit together."
    )


async def _schema(url: str) -> Finding:
    try:
        await check_migrated(url, connect_seconds=CONNECT_SECONDS)
    except InvalidConfiguration as error:
        sentence = " ".join(error.problems).partition(": run ")[0]
        return failed("schema", f"{sentence}.", "Run `pipeline migrate`.")
    except DatabaseUnavailable as error:
        return failed("schema", f"{error}.", "Let this user read the table schema_migrations.")
    return ok("schema", "The schema is as new as this release.")


def _no_connection(error: BaseException, url: str) -> Finding:
    kinds = {type(cause).__name__ for cause in causes(error)}
    if kinds & _CREDENTIALS:
        return failed(
            CHECK,
            f"PostgreSQL at {address(url)} refuses the user or the password.",
            "Correct them in DATABASE_URL; special characters are written as %40 and so on.",
        )
    if "InvalidCatalogNameError" in kinds:
        return failed(
            CHECK,
            f"PostgreSQL at {address(url)} has no database of the name in DATABASE_URL.",
            "Create it with `createdb`, or correct the name.",
        )
    network = unreachable(CHECK, error, url, "DATABASE_URL")
    return network or failed(CHECK, f"{error}.", "Correct DATABASE_URL.")
