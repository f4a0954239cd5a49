"""Plain connections to RabbitMQ, and what the driver's failures mean to us.

The driver's own reconnecting ("robust") connections are not used: they restore channels and
consumers behind the back of whoever uses them, and lose a consumer that the broker has cancelled.
Here a connection is opened once, used, and thrown away with everything on it at the first fault;
reconnecting is a loop in plain sight (see `consumer.py` and `publisher.py`).
"""

import asyncio
import logging
from collections.abc import Coroutine, Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, TypeVar

from aio_pika import Connection
from aio_pika.exceptions import CONNECTION_EXCEPTIONS
from yarl import URL

from domain.errors import BrokerUnavailable

# The driver reports every failed attempt as an error of its own; we report an outage once.
DRIVER_LOGGERS = ("aio_pika", "aiormq")
for _name in DRIVER_LOGGERS:
    logging.getLogger(_name).setLevel(logging.CRITICAL)

T = TypeVar("T")
_background: set[asyncio.Task[Any]] = set()


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """Time limits, in seconds.

    A peer that is silent for three heartbeats is given up. `publish_seconds` includes opening a
    connection if there is none. Delays between attempts to reconnect are full-jitter exponential,
    from `backoff_base_seconds` to at most `backoff_cap_seconds`.
    """

    heartbeat_seconds: int = 5
    connect_seconds: float = 5.0
    publish_seconds: float = 10.0
    settle_seconds: float = 5.0
    check_seconds: float = 2.0
    close_seconds: float = 3.0
    backoff_base_seconds: float = 0.2
    backoff_cap_seconds: float = 10.0

    def backoff_seconds(self, failures: int, fraction: float) -> float:
        """The delay after so many failures in a row; `fraction` is random in [0, 1)."""
        ceiling = self.backoff_base_seconds * 2.0 ** min(failures, 30)
        return fraction * min(self.backoff_cap_seconds, ceiling)


@contextmanager
def broker_errors(action: str) -> Generator[None]:
    """Raise BrokerUnavailable for whatever the driver raises while it tries to `action`.

    A connection that is lost makes the driver fail pending calls with CancelledError. Only a
    cancellation that somebody asked of this task passes as one.
    """
    try:
        yield
    except asyncio.CancelledError as error:
        task = asyncio.current_task()
        if task is None or task.cancelling():
            raise
        raise BrokerUnavailable(f"RabbitMQ could not {action}: connection lost") from error
    except CONNECTION_EXCEPTIONS as error:
        raise BrokerUnavailable(f"RabbitMQ could not {action}: {_reason(error)}") from error


async def open_connection(url: str, *, purpose: str, timing: Timing) -> Connection:
    """A new connection, named `purpose` in the broker's list; raises BrokerUnavailable."""
    heartbeat = {"heartbeat": str(timing.heartbeat_seconds)}
    target = URL(url)
    connection = Connection(
        target.with_query(heartbeat | dict(target.query)),
        client_properties={"connection_name": f"image-pipeline {purpose}"},
    )
    try:
        with broker_errors("accept a connection"):
            async with asyncio.timeout(timing.connect_seconds):
                await connection.connect()
    except BaseException:
        await close_connection(connection, timing)
        raise
    return connection


async def close_connection(connection: Connection, timing: Timing) -> None:
    """Close it and everything on it; a peer that does not answer is left to a background task."""
    await asyncio.wait({in_background(connection.close())}, timeout=timing.close_seconds)


def in_background(work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
    """A task that goes on when its caller is cancelled, and whose failure is no news."""
    task = asyncio.create_task(work)
    _background.add(task)
    task.add_done_callback(_forget)
    return task


def _forget(task: asyncio.Task[Any]) -> None:
    _background.discard(task)
    with suppress(asyncio.CancelledError):
        task.exception()


def _reason(error: BaseException) -> str:
    return str(error) or ("no answer in time" if isinstance(error, TimeoutError) else repr(error))
