"""A process that has loaded an image library once and forks a ready child for each photo.

Started by `client.Forkserver` with an empty environment and one socket. Single-threaded, so that
forking is safe; it never sees a photo and knows no secret, and neither do its children. It ends,
and takes every child with it, when the worker's end of the socket is closed.
"""

import gc
import importlib
import os
import select
import signal
import socket
import struct
import sys
from contextlib import suppress
from enum import IntEnum
from pathlib import Path
from types import FrameType
from typing import NoReturn

from adapters.sandbox.child import EXIT_BROKEN, run
from adapters.sandbox.decoder import Decoder
from adapters.sandbox.lockdown import prepare, sandbox_features

FRAME = struct.Struct("!BQiQ")  # operation, number of the child, pid or wait status, peak bytes


class Operation(IntEnum):
    """SPAWN (with the child's two pipe ends) and KILL go in; the others come out.

    ENDED carries the wait status and the most memory the child has had resident.
    """

    SPAWN = 1
    KILL = 2
    READY = 3
    SPAWNED = 4
    ENDED = 5


def main(control: socket.socket, module: str) -> None:
    """Serve until the worker is gone. `module` is that of the decoder."""
    decoder: Decoder = importlib.import_module(module).DECODER
    decoder.preload()
    prepare()
    _check_threads()
    gc.collect()
    gc.freeze()  # the collector would write to, and so copy, pages shared with the children
    Forkserver(control, decoder).serve()


def _check_threads() -> None:
    tasks = Path("/proc/self/task")
    if tasks.exists() and len(list(tasks.iterdir())) > 1:
        raise RuntimeError("the decoder has started threads: forking would not be safe")


class Forkserver:
    """The serving side; see `client` for the asking side."""

    def __init__(self, control: socket.socket, decoder: Decoder) -> None:
        self._control = control
        self._decoder = decoder
        self._features = sandbox_features()
        self._pids: dict[int, int] = {}
        self._wakeup, self._sleeper = socket.socketpair()

    def serve(self) -> None:
        """Fork, kill and reap until the control socket is closed; then kill what is left."""
        for end in (self._wakeup, self._sleeper):
            end.setblocking(False)
        signal.signal(signal.SIGCHLD, _wake_up)
        signal.set_wakeup_fd(self._wakeup.fileno())
        ready = select.poll()
        ready.register(self._control, select.POLLIN)
        ready.register(self._sleeper, select.POLLIN)
        with suppress(ConnectionError):
            self._tell(Operation.READY, 0, os.getpid())
            while True:
                descriptors = {descriptor for descriptor, _ in ready.poll()}
                if self._sleeper.fileno() in descriptors:
                    self._sleeper.recv(4096)
                    self._reap()
                if self._control.fileno() in descriptors and not self._obey():
                    break
        for pid in self._pids.values():
            _kill(pid)

    def _obey(self) -> bool:
        """Carry out one request; False when the worker is gone."""
        frame, pipes, _, _ = socket.recv_fds(self._control, FRAME.size, 2)
        if len(frame) < FRAME.size:
            return False
        operation, number, _, _ = FRAME.unpack(frame)
        if operation == Operation.SPAWN:
            self._spawn(number, pipes)
        elif operation == Operation.KILL and number in self._pids:
            _kill(self._pids[number])
        return True

    def _spawn(self, number: int, pipes: list[int]) -> None:
        server = os.getpid()
        pid = os.fork()
        if pid == 0:
            self._become_child(server, pipes)
        for pipe in pipes:
            os.close(pipe)
        self._pids[number] = pid
        self._tell(Operation.SPAWNED, number, pid)

    def _become_child(self, server: int, pipes: list[int]) -> NoReturn:
        """Run the child, and never return into the forkserver's own frames."""
        code = EXIT_BROKEN
        try:
            signal.set_wakeup_fd(-1)
            for end in (self._control, self._wakeup, self._sleeper):
                end.close()
            orders, answers = pipes
            code = run(self._decoder, self._features, server, orders, answers)
        finally:
            os._exit(code)

    def _reap(self) -> None:
        for number, pid in list(self._pids.items()):
            if os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
                continue
            _kill(pid)  # not yet reaped, so the group's number is still its own
            _, status, usage = os.wait4(pid, 0)
            del self._pids[number]
            self._tell(Operation.ENDED, number, status, usage.ru_maxrss * 1024)

    def _tell(self, operation: Operation, number: int, value: int, peak: int = 0) -> None:
        self._control.sendall(FRAME.pack(operation, number, value, peak))


def _wake_up(_number: int, _frame: FrameType | None) -> None:
    """The wakeup descriptor does the work; it needs a handler to be there."""


def _kill(pid: int) -> None:
    """End a child and its process group; before its setpgid(2) it has no group of its own."""
    for kill in (os.killpg, os.kill):
        with suppress(ProcessLookupError, PermissionError):
            kill(pid, signal.SIGKILL)


if __name__ == "__main__":
    main(socket.socket(fileno=int(sys.argv[1])), sys.argv[2])
