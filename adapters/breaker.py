"""A circuit breaker: that a server is silent is found out once, not by every caller anew.

A call that waits for long raises a doubt, no more: a loaded server is slow. The server is then
asked the simplest question there is, on a connection of its own. For as long as it answers that,
or anybody, calls go on under their own limits. If it answers nobody, all calls under way fail and
each further one fails at once, while one task asks again and again until there is an answer.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from domain.errors import Unavailable

Ask = Callable[[], Awaitable[None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """In seconds. A silent server is told from a slow one within the first two together.

    A server that is back is noticed within the last two together.
    """

    doubt_seconds: float = 0.5
    pause_seconds: float = 0.1
    question_seconds: float = 1.25


async def _nothing() -> None:
    """What is done when a server falls silent, if nobody wants more."""


class Breaker:
    """Stands before one server. `ask` returns when the server answers; a refusal is an answer too.

    `silent` makes the error for callers. `on_silence` is called when the server has fallen silent.
    """

    def __init__(
        self,
        ask: Ask,
        silent: Callable[[], Unavailable],
        *,
        patience: Patience | None = None,
        on_silence: Ask = _nothing,
    ) -> None:
        self._ask = ask
        self._silent = silent
        self._patience = patience or Patience()
        self._on_silence = on_silence
        self._calls: dict[asyncio.Timeout, asyncio.TimerHandle] = {}
        self._answered = 0
        self._is_open = False
        self._asking: asyncio.Task[None] | None = None

    @asynccontextmanager
    async def call(self) -> AsyncGenerator[None]:
        """Around everything that waits for the server. Raises the error of `silent` if it is."""
        if self._is_open:
            raise self._silent() from TimeoutError(
                "no answer yet to the question whether it is back"
            )
        limit = asyncio.timeout(None)
        try:
            async with limit:
                self._doubt_later(limit)
                yield
                self._answered += 1
        except TimeoutError as error:
            if limit.expired():
                raise self._silent() from error
            raise
        finally:
            doubt = self._calls.pop(limit, None)
            if doubt is not None:
                doubt.cancel()

    async def close(self) -> None:
        """Ask no more."""
        if self._asking is not None:
            self._asking.cancel()
            await asyncio.wait([self._asking])

    def _doubt_later(self, limit: asyncio.Timeout) -> None:
        loop = asyncio.get_running_loop()
        doubt = loop.call_later(self._patience.doubt_seconds, self._doubt, limit)
        self._calls[limit] = doubt

    def _doubt(self, limit: asyncio.Timeout) -> None:
        self._doubt_later(limit)
        if self._asking is None:
            self._asking = asyncio.create_task(self._find_out(), name="breaker")

    async def _find_out(self) -> None:
        try:
            while not await self._is_there():
                self._fail_calls()
                await self._on_silence()
                await asyncio.sleep(self._patience.pause_seconds)
            self._is_open = False
        finally:
            self._asking = None

    async def _is_there(self) -> bool:
        answered = self._answered
        try:
            async with asyncio.timeout(self._patience.question_seconds):
                await self._ask()
        except TimeoutError:
            return self._answered != answered
        except Exception as error:  # noqa: BLE001 - whatever it is, somebody has said so
            return not isinstance(error.__cause__, TimeoutError)
        return True

    def _fail_calls(self) -> None:
        self._is_open = True
        now = asyncio.get_running_loop().time()
        calls, self._calls = self._calls, {}
        for limit, doubt in calls.items():
            doubt.cancel()
            limit.reschedule(now)
