"""An HTTP server as one of several things in a process."""

import asyncio
import socket
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import uvicorn

from domain.errors import InvalidConfiguration

BACKLOG = 1024


class _Server(uvicorn.Server):
    """uvicorn without its own signal handling: the process decides when it ends."""

    @contextmanager
    def capture_signals(self) -> Generator[None]:
        yield


def listen(host: str, port: int, setting: str) -> socket.socket:
    """A listening socket; port 0 takes a free one. `setting` names the port's variable."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    server = socket.socket(family, socket.SOCK_STREAM)
    server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        server.bind((host, port))
    except OSError as error:
        server.close()
        problem = f"{setting} is {port}, and nothing can listen there: {error.strerror}."
        raise InvalidConfiguration([problem]) from error
    server.listen(BACKLOG)
    return server


async def serve(app: Any, bound: socket.socket, stop: asyncio.Event, grace_seconds: float) -> None:
    """Answer requests until `stop`, then finish those under way within the grace time."""
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        server_header=False,
        date_header=True,
        lifespan="on",
        timeout_graceful_shutdown=max(1, round(grace_seconds)),
        timeout_keep_alive=75,
    )
    server = _Server(config)
    serving = asyncio.create_task(server.serve(sockets=[bound]))
    stopping = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait({serving, stopping}, return_when=asyncio.FIRST_COMPLETED)
        server.should_exit = True
        await serving
    finally:
        stopping.cancel()
        bound.close()
