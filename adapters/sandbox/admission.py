"""Memory for several photos at once: first come, first served."""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress


class MemoryBudget:
    """Hands out up to `total` bytes. Nobody is overtaken, so a large photo can't starve."""

    def __init__(self, total: int) -> None:
        self.total = total
        self.used = 0
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()

    @asynccontextmanager
    async def claim(self, size: int) -> AsyncGenerator[None]:
        """Wait until `size` bytes are free, hold them inside the block. At most `total`."""
        assert size <= self.total, "a claim above the budget would wait for ever"
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append((size, turn))
        self._admit()
        try:
            await turn
            yield
        finally:
            if turn.done() and not turn.cancelled():
                self.used -= size
            with suppress(ValueError):
                self._waiting.remove((size, turn))
            self._admit()

    def _admit(self) -> None:
        while self._waiting and self.used + self._waiting[0][0] <= self.total:
            size, turn = self._waiting.popleft()
            if not turn.cancelled():
                self.used += size
                turn.set_result(None)
