"""An application behind a real HTTP server, in the loop of the test."""

import asyncio
import socket
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import uvicorn

from tests.support.waiting import eventually


class Server(uvicorn.Server):
    """Signals stay the test run's; it stops at once and not at its next look at the clock."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.stop = asyncio.Event()

    @contextmanager
    def capture_signals(self) -> Generator[None]:
        yield

    async def main_loop(self) -> None:
        await self.on_tick(0)
        await self.stop.wait()


@asynccontextmanager
async def serving(make_app: Callable[[str], Any]) -> AsyncGenerator[str]:
    """The URL of the application that `make_app` makes, given that URL."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        config = uvicorn.Config(
            make_app(url), lifespan="on", log_level="error", timeout_graceful_shutdown=2
        )
        server = Server(config)
        task = asyncio.create_task(server.serve(sockets=[listener]))

        async def started() -> bool:
            return server.started or task.done()

        await eventually(started)
        try:
            yield url
        finally:
            server.stop.set()
            await task
