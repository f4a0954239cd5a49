"""The worker's side of the forkserver: starts it, asks it for children, replaces it if it dies."""

import asyncio
import json
import os
import socket
import subprocess
import sys
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager, suppress
from itertools import count

from adapters.sandbox.forkserver import FRAME, Operation
from adapters.sandbox.messages import LINE_BYTES_MAX

# The import path is an argument because nothing of our environment is passed on.
_BOOT = (
    "import json, socket, sys; sys.path[:] = json.loads(sys.argv[1]); "
    "from adapters.sandbox.forkserver import main; "
    "main(socket.socket(fileno=int(sys.argv[2])), sys.argv[3])"
)
# What every forkserver and its children have for an environment. Each child touches tens of
# megabytes for the first time; with huge pages that costs the kernel half as much.
_ENVIRONMENT = {
    "LC_ALL": "C.UTF-8",
    "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1:glibc.malloc.arena_max=1",
}
_START_SECONDS = 60.0
_ANSWER_SECONDS = 10.0  # forking and killing take milliseconds


class ForkserverGone(Exception):
    """The forkserver ended, and every child with it."""


class Child:
    """One child seen from outside: a pipe to it, a pipe from it, and its end."""

    def __init__(self, number: int, orders: int) -> None:
        loop = asyncio.get_running_loop()
        self.number = number
        self.answers = asyncio.StreamReader(limit=LINE_BYTES_MAX)
        self.pid: asyncio.Future[int | None] = loop.create_future()
        self.ended: asyncio.Future[int | None] = loop.create_future()
        self.peak_bytes = 0  # the most memory it has had resident, known when it has ended
        self._orders = orders

    def send(self, line: bytes) -> None:
        """Write a short line. A child that is gone is noticed when its answers end."""
        with suppress(BrokenPipeError):
            os.write(self._orders, line)

    async def status(self) -> int:
        """Its wait status, once it has ended."""
        status = await asyncio.shield(self.ended)
        if status is None:
            raise ForkserverGone
        return status


class Forkserver:
    """One forkserver process for a decoder module; started on first use."""

    def __init__(self, module: str, environment: Mapping[str, str]) -> None:
        self._module = module
        self._environment = {**_ENVIRONMENT, **environment}
        self._starting = asyncio.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None
        self._ready: asyncio.Future[int | None] | None = None
        self._numbers = count(1)
        self._children: dict[int, Child] = {}
        self._received = b""

    @property
    def pid(self) -> int | None:
        """The process id, while it runs."""
        return self._process.pid if self._process else None

    async def open(self) -> None:
        """Start the process unless it runs; raises ForkserverGone if it can't be started."""
        async with self._starting:
            if self._control is None:
                self._start()
            assert self._ready is not None
            await self._answered(self._ready, _START_SECONDS)

    async def close(self) -> None:
        """End the process and all its children."""
        async with self._starting:
            self._lose()

    @asynccontextmanager
    async def child(self) -> AsyncGenerator[Child]:
        """A fresh child, which is dead when the block is left, however it is left."""
        await self.open()
        orders_in, orders = os.pipe()
        answers, answers_out = os.pipe()
        child = Child(next(self._numbers), orders)
        self._children[child.number] = child
        try:
            self._send(Operation.SPAWN, child.number, [orders_in, answers_out])
            for theirs in (orders_in, answers_out):
                os.close(theirs)
            transport = await _read_pipe(child.answers, answers)
            try:
                await self._answered(child.pid, _ANSWER_SECONDS)
                yield child
            finally:
                transport.close()
        finally:
            os.close(orders)
            await self._end(child)

    async def _end(self, child: Child) -> None:
        if not child.ended.done():
            self._send(Operation.KILL, child.number, [])
            with suppress(ForkserverGone):
                await self._answered(child.ended, _ANSWER_SECONDS)
        self._children.pop(child.number, None)

    async def _answered(self, answer: "asyncio.Future[int | None]", seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                value = await asyncio.shield(answer)
        except TimeoutError:
            self._lose()
            raise ForkserverGone from None
        if value is None:
            raise ForkserverGone

    def _start(self) -> None:
        ours, theirs = socket.socketpair()
        arguments = (json.dumps(sys.path), str(theirs.fileno()), self._module)
        self._process = subprocess.Popen(  # noqa: S603 - our own interpreter and code
            [sys.executable, "-I", "-c", _BOOT, *arguments],
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            pass_fds=(theirs.fileno(),),
            start_new_session=True,
        )
        theirs.close()
        ours.setblocking(False)
        loop = asyncio.get_running_loop()
        self._control, self._ready, self._received = ours, loop.create_future(), b""
        loop.add_reader(ours.fileno(), self._receive)

    def _send(self, operation: Operation, number: int, pipes: list[int]) -> None:
        if self._control is None:
            return
        try:
            socket.send_fds(self._control, [FRAME.pack(operation, number, 0, 0)], pipes)
        except OSError:
            self._lose()

    def _receive(self) -> None:
        assert self._control is not None
        try:
            chunk = self._control.recv(4096)
        except BlockingIOError:
            return
        except OSError:
            chunk = b""
        if not chunk:
            self._lose()
            return
        self._received += chunk
        while len(self._received) >= FRAME.size:
            frame, self._received = self._received[: FRAME.size], self._received[FRAME.size :]
            self._note(*FRAME.unpack(frame))

    def _note(self, operation: int, number: int, value: int, peak: int) -> None:
        child = self._children.get(number)
        if operation == Operation.READY:
            assert self._ready is not None
            _settle(self._ready, value)
        elif operation == Operation.SPAWNED and child is not None:
            _settle(child.pid, value)
        elif operation == Operation.ENDED and child is not None:
            child.peak_bytes = peak
            _settle(child.ended, value)

    def _lose(self) -> None:
        """Let go of the process; whoever waits for it or a child of it is told None."""
        if self._control is None or self._process is None or self._ready is None:
            return
        asyncio.get_running_loop().remove_reader(self._control.fileno())
        self._control.close()
        self._process.kill()
        self._process.wait()
        for answer in (
            self._ready,
            *(f for c in self._children.values() for f in (c.pid, c.ended)),
        ):
            _settle(answer, None)
        self._children.clear()
        self._control = self._process = self._ready = None


def _settle(answer: "asyncio.Future[int | None]", value: int | None) -> None:
    if not answer.done():
        answer.set_result(value)


async def _read_pipe(reader: asyncio.StreamReader, descriptor: int) -> asyncio.ReadTransport:
    pipe = os.fdopen(descriptor, "rb", buffering=0)
    loop = asyncio.get_running_loop()
    transport, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), pipe)
    return transport
