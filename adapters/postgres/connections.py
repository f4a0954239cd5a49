"""Connections: how they are opened, shared and thrown away.

Nothing is opened before it is needed, so a process may start before its database, and a server
that comes back is found by the next caller. Every wait has a limit: to connect, for a free
connection, for a statement, for a lock, and for a transaction that does nothing. They are made for
a loaded server; a silent one is found out sooner, by the breaker.
"""

import asyncio
import socket
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Protocol, cast

import asyncpg  # pyright: ignore[reportMissingTypeStubs] - partly annotated, see Connection

from adapters.breaker import Breaker, Patience
from adapters.postgres.errors import Connecting, Translating, bad_url
from domain.errors import DatabaseUnavailable

_asyncpg = cast("Any", asyncpg)
APPLICATION_NAME = "image-pipeline"
# A peer that vanished is noticed on an idle connection after 10 + 3 * 3 seconds, and after 8
# when it owes us an acknowledgement. Names missing on a platform are left at its defaults.
_SOCKET_OPTIONS = {
    "TCP_KEEPIDLE": 10,
    "TCP_KEEPINTVL": 3,
    "TCP_KEEPCNT": 3,
    "TCP_USER_TIMEOUT": 8000,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The time limits, in seconds, and the size of the pool."""

    pool_size: int = 10
    connect_seconds: float = 3.0
    statement_seconds: float = 4.0
    lock_seconds: float = 3.0
    idle_in_transaction_seconds: float = 10.0
    patience: Patience = field(default_factory=Patience)

    def server_settings(self) -> dict[str, str]:
        """What every session of ours is told at its start.

        All queries are made for an index. A plan is cached for as long as a connection lives
        and may have been made while the table was empty: hence no plan without the index.
        """
        return {
            "application_name": APPLICATION_NAME,
            "statement_timeout": _milliseconds(self.statement_seconds),
            "lock_timeout": _milliseconds(self.lock_seconds),
            "idle_in_transaction_session_timeout": _milliseconds(self.idle_in_transaction_seconds),
            "default_transaction_isolation": "read committed",
            "timezone": "UTC",
            "jit": "off",
            "enable_seqscan": "off",
            "enable_bitmapscan": "off",
        }


class Connection(Protocol):
    """What we use of an asyncpg connection. `limits` may be `timeout`, in seconds."""

    async def execute(self, query: str, *args: Any, **limits: float) -> str: ...
    async def fetch(
        self, query: str, *args: Any, **limits: float
    ) -> Sequence[Mapping[str, Any]]: ...
    async def fetchrow(
        self, query: str, *args: Any, **limits: float
    ) -> Mapping[str, Any] | None: ...
    async def fetchval(self, query: str, *args: Any, **limits: float) -> Any: ...
    async def add_listener(self, channel: str, callback: Callable[..., None]) -> None: ...
    def add_termination_listener(self, callback: Callable[..., None]) -> None: ...
    def terminate(self) -> None: ...
    def is_closed(self) -> bool: ...


class _Session(asyncpg.Connection):
    """A connection that costs no round trip when it goes back to the pool.

    Sessions set nothing and listen to nothing; transactions are ended by the unit of work.
    """

    def get_reset_query(self) -> str:
        return ""

    async def close(self, *, timeout: float | None = None) -> None:  # noqa: ASYNC109 - asyncpg's
        """Close, or cut off a connection that does not answer any more.

        The pool closes expired connections in tasks whose failure nobody would hear of.
        """
        with suppress(OSError, TimeoutError, asyncpg.InterfaceError, asyncpg.PostgresError):
            await cast("Any", super()).close(timeout=timeout)

    def watch_peer(self) -> None:
        """Let the kernel notice that the other side is gone."""
        peer = cast("Any", self)._transport.get_extra_info("socket")  # noqa: SLF001 - no public way
        if peer is None or peer.family not in {socket.AF_INET, socket.AF_INET6}:
            return
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, value in _SOCKET_OPTIONS.items():
            if hasattr(socket, name):
                peer.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


async def connect_alone(url: str, *, seconds: float, **settings: Any) -> Connection:
    """A connection outside any pool. Raises DatabaseUnavailable or InvalidConfiguration."""
    with Connecting():
        connection = await _asyncpg.connect(
            _checked(url), timeout=seconds, connection_class=_Session, **settings
        )
        connection.watch_peer()
    return connection


class Connections:
    """The pool. Each connection is held by one task at a time."""

    def __init__(self, url: str, limits: Limits) -> None:
        self._url = url
        self._limits = limits
        self._breaker = Breaker(
            self._ask, _silent, patience=limits.patience, on_silence=self._forget_idle
        )
        self._pool = _asyncpg.create_pool(
            _checked(url),
            min_size=0,  # no background task that reconnects and logs; see the module's text
            max_size=limits.pool_size,
            connection_class=_Session,
            init=_watch_peer,
            timeout=limits.connect_seconds,
            command_timeout=limits.statement_seconds + 1.0,
            max_cached_statement_lifetime=0,
            server_settings=limits.server_settings(),
        )

    async def open(self) -> None:
        """Make the pool usable; talks to no server."""
        await self._pool

    @property
    def open_count(self) -> int:
        return self._pool.get_size()

    @property
    def in_use_count(self) -> int:
        return self._pool.get_size() - self._pool.get_idle_size()

    @asynccontextmanager
    async def checkout(self) -> AsyncGenerator[Connection]:
        """A connection for this task; errors inside the block are left as they are.

        Raises DatabaseUnavailable, wherever the block is, when the server has fallen silent.
        """
        async with self._breaker.call():
            with Connecting():
                connection = await self._pool.acquire(timeout=self._limits.connect_seconds + 1.0)
            try:
                yield connection
            except BaseException as error:
                if not isinstance(error, Exception) or isinstance(error, DatabaseUnavailable):
                    await self._throw_away(connection, error)
                raise
            finally:
                await self._pool.release(connection)

    @asynccontextmanager
    async def use(self) -> AsyncGenerator[Connection]:
        """A connection for this task; the driver's errors leave the block as ours."""
        async with self.checkout() as connection:
            with Translating():
                yield connection

    async def close(self, seconds: float = 5.0) -> None:
        """Close what is idle, wait a little for what is not, then cut it off."""
        await self._breaker.close()
        try:
            async with asyncio.timeout(seconds):
                await self._pool.close()
        except TimeoutError:
            self._pool.terminate()

    async def _throw_away(self, connection: Connection, error: BaseException) -> None:
        """Nobody knows what this connection is doing; the server undoes its transaction.

        If it was silent, so are its idle sisters, most likely: they must not cost a time limit
        each.
        """
        discard(connection)
        if isinstance(error.__cause__, TimeoutError):
            await self._forget_idle()

    async def _forget_idle(self) -> None:
        """Every idle connection is replaced when it would be used next."""
        await self._pool.expire_connections()

    async def _ask(self) -> None:
        """The simplest question, past the pool, which may be full of what does not answer."""
        connection = await connect_alone(self._url, seconds=self._limits.connect_seconds)
        try:
            await connection.execute("SELECT 1")
        finally:
            connection.terminate()


def _silent() -> DatabaseUnavailable:
    return DatabaseUnavailable("the database is silent")


def discard(connection: Connection) -> None:
    """Cut the connection off. One that was lost is out of our hands already; the pool knows."""
    with suppress(asyncpg.InterfaceError):
        connection.terminate()


async def _watch_peer(session: _Session) -> None:
    session.watch_peer()


def _checked(url: str) -> str:
    if not url.startswith(("postgresql://", "postgres://")):
        raise bad_url()
    return url


def _milliseconds(seconds: float) -> str:
    return str(round(seconds * 1000))
