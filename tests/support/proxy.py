"""A TCP proxy that makes network faults: cuts, refusals, silence in one direction or in both."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field


@dataclass(eq=False)
class _Gates:
    """What of one connection is let through."""

    to_client: asyncio.Event = field(default_factory=asyncio.Event)
    to_server: asyncio.Event = field(default_factory=asyncio.Event)

    def open(self) -> None:
        self.to_client.set()
        self.to_server.set()


class Proxy:
    """Stands before a server, on a `port` of its own. Faults hit the connections open by then.

    While it is `refusing`, or `silent`, new connections are cut off or let nothing through.
    """

    def __init__(self, target_host: str, target_port: int) -> None:
        self._target = target_host, target_port
        self._connections: dict[asyncio.Task[None], _Gates] = {}
        self.port = 0
        self.refusing = False
        self.silent = False
        self.refused = 0

    @property
    def connections(self) -> int:
        """How many are open."""
        return len(self._connections)

    def cut(self) -> None:
        """Reset every connection, on both sides."""
        for task in self._connections:
            task.cancel()

    def mute(self) -> None:
        """Keep back what the server says."""
        for gates in self._connections.values():
            gates.to_client.clear()

    def freeze(self) -> None:
        """Let nothing through, not even the end of a connection: half-open TCP."""
        self.mute()
        for gates in self._connections.values():
            gates.to_server.clear()

    def thaw(self) -> None:
        for gates in self._connections.values():
            gates.open()

    def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.refusing:
            self.refused += 1
            writer.transport.abort()
            return
        gates = _Gates()
        if not self.silent:
            gates.open()
        task = asyncio.create_task(self._connect(reader, writer, gates))
        self._connections[task] = gates
        task.add_done_callback(self._connections.pop)

    async def close(self) -> None:
        self.cut()
        if self._connections:
            await asyncio.wait(tuple(self._connections))

    async def _connect(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, gates: _Gates
    ) -> None:
        upstream_reader, upstream = await asyncio.open_connection(*self._target)
        try:
            await asyncio.gather(
                _pump(reader, upstream, gates.to_server),
                _pump(upstream_reader, writer, gates.to_client),
            )
        finally:
            writer.transport.abort()
            upstream.transport.abort()


async def _pump(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, gate: asyncio.Event
) -> None:
    with suppress(OSError):
        while data := await reader.read(65536):
            await gate.wait()
            writer.write(data)
            await writer.drain()
    await gate.wait()
    writer.close()


@asynccontextmanager
async def proxy_before(target_host: str, target_port: int) -> AsyncGenerator[Proxy]:
    proxy = Proxy(target_host, target_port)
    server = await asyncio.start_server(proxy.accept, "127.0.0.1", 0)
    proxy.port = server.sockets[0].getsockname()[1]
    try:
        yield proxy
    finally:
        server.close()
        await proxy.close()
