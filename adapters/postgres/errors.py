"""What an error of the driver means to the caller.

Server's and driver's texts are passed on; neither ever contains a password. The parser of the
URL is the exception, so its errors are replaced, cause included.
"""

from types import TracebackType

import asyncpg  # pyright: ignore[reportMissingTypeStubs] - its errors are classes all the same

from domain.errors import DatabaseUnavailable, InvalidConfiguration, PipelineError, VersionConflict

CONFLICTS = (
    asyncpg.SerializationError,
    asyncpg.DeadlockDetectedError,
    asyncpg.InFailedSQLTransactionError,  # somebody went on after one of the others
)
NOT_MIGRATED = (asyncpg.UndefinedTableError, asyncpg.UndefinedColumnError)
UNAVAILABLE = (
    OSError,  # refused, reset, unknown host, TLS, and every time limit: TimeoutError is one
    asyncpg.PostgresConnectionError,
    asyncpg.OperatorInterventionError,  # shutdown, restart, cancelled by statement_timeout
    asyncpg.InsufficientResourcesError,  # too many connections, disk full
    asyncpg.LockNotAvailableError,
    asyncpg.IdleInTransactionSessionTimeoutError,
    asyncpg.ReadOnlySQLTransactionError,  # a replica that is not yet the primary
    asyncpg.InvalidAuthorizationSpecificationError,
    asyncpg.InvalidCatalogNameError,
    asyncpg.PostgresSystemError,
    asyncpg.InvalidCachedStatementError,  # the schema changed; the driver prepares anew
    asyncpg.InterfaceError,  # the connection or the pool is closed
    asyncpg.InternalClientError,
)


def translate(error: Exception, media_id: str = "") -> PipelineError | None:
    """Our error for one of the driver's; None for a defect, which must not be dressed up.

    `media_id` names the media that the transaction is about, for a conflict.
    """
    if isinstance(error, CONFLICTS):
        return VersionConflict(media_id)
    if isinstance(error, NOT_MIGRATED):
        return DatabaseUnavailable(f"the database is not migrated, run `pipeline migrate`: {error}")
    if isinstance(error, UNAVAILABLE) and not isinstance(error, ValueError):
        text = str(error) or "no answer within the time limit"
        return DatabaseUnavailable(f"the database is unavailable: {type(error).__name__}: {text}")
    return None


class Translating:
    """A context in which the driver's errors are replaced by ours."""

    __slots__ = ("_media_id",)

    def __init__(self, media_id: str = "") -> None:
        self._media_id = media_id

    def __enter__(self) -> None:
        return None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        if isinstance(error, Exception):
            ours = translate(error, self._media_id)
            if ours is not None:
                raise ours from error


class Connecting:
    """As Translating, for code that may parse the URL; the parser quotes it, password and all."""

    __slots__ = ()

    def __enter__(self) -> None:
        return None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        if isinstance(error, ValueError):
            raise bad_url() from None
        Translating().__exit__(kind, error, None)


def bad_url() -> InvalidConfiguration:
    """The problem with the URL, told without the URL."""
    return InvalidConfiguration(
        ["DATABASE_URL is not a URL of the form postgresql://user:password@host:5432/name."]
    )
