"""LISTEN, on a connection of its own: in a pool the registration would be lost on release."""

import asyncio
import logging
from collections.abc import Callable

from adapters.postgres.connections import APPLICATION_NAME, Connection, connect_alone
from application.ports import OutboxHint

CHANNEL = "pipeline_outbox"
_BACKOFF_SECONDS = (0.1, 10.0)
_PING_SECONDS = 15.0
_log = logging.getLogger(__name__)


class PostgresHint(OutboxHint):
    """Reconnects for ever in the background; without a connection only the timeout wakes.

    The connection is opened by the first `wait`, so a process that never waits has none.
    `fraction` is a random number in [0, 1), for jitter.
    """

    def __init__(self, url: str, *, connect_seconds: float, fraction: Callable[[], float]) -> None:
        self._url = url
        self._connect_seconds = connect_seconds
        self._fraction = fraction
        self._rung = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._failures = 0

    async def wait(self, timeout_seconds: float) -> None:
        if self._task is None:
            self._task = asyncio.create_task(self._stay_connected(), name="outbox-hint")
        try:
            async with asyncio.timeout(timeout_seconds):
                await self._rung.wait()
        except TimeoutError:
            return
        self._rung.clear()

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
            self._task = None

    async def _stay_connected(self) -> None:
        while True:
            try:
                await self._listen_until_lost()
            except Exception as error:  # noqa: BLE001 - whatever it is, polling goes on
                self._failures += 1
                if self._failures == 1:
                    _log.warning("outbox hint lost, polling until it is back: %s", error)
            await asyncio.sleep(self._pause_seconds())

    async def _listen_until_lost(self) -> None:
        connection = await connect_alone(
            self._url,
            seconds=self._connect_seconds,
            command_timeout=self._connect_seconds,
            server_settings={"application_name": f"{APPLICATION_NAME}-hint"},
        )
        try:
            await self._listen(connection)
        finally:
            connection.terminate()

    async def _listen(self, connection: Connection) -> None:
        lost = asyncio.Event()

        def on_loss(_connection: object) -> None:
            lost.set()

        connection.add_termination_listener(on_loss)
        await connection.add_listener(CHANNEL, self._ring)
        if self._failures:
            _log.info("outbox hint is back")
        self._failures = 0
        self._rung.set()  # something may have been committed while nobody listened
        while not connection.is_closed():
            try:
                async with asyncio.timeout(_PING_SECONDS):
                    await lost.wait()
            except TimeoutError:
                await connection.execute("SELECT 1")
        raise ConnectionError("the server closed the connection")

    def _ring(self, *_notification: object) -> None:
        self._rung.set()

    def _pause_seconds(self) -> float:
        first, longest = _BACKOFF_SECONDS
        ceiling = min(longest, first * 2.0 ** min(self._failures, 10))
        return ceiling * (0.5 + self._fraction() / 2)
