"""A real server as a child process: started on a free port, asked until ready, never left behind.

The process leads a session of its own, so a Ctrl-C in the terminal reaches the tests first and
the server can be stopped in order. Signals go to every descendant: some servers (PostgreSQL)
give each child a process group of its own.
"""

import contextlib
import os
import pwd
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from pathlib import Path

START_SECONDS = 60.0
STOP_SECONDS = 20.0
POLL_SECONDS = 0.05
# Below the range from which the kernel takes the ports of outgoing connections.
PORTS = range(12_000, 32_000)


class ServerFailed(Exception):
    """The server ended, or was not ready in time; the message holds the end of its log."""


class Server(ABC):
    """One server with its data in a temporary folder; `close` ends it and removes the folder.

    `stop`, `kill` and `pause` make outages; `start` and `resume` end them, on the same port and
    the same data.
    """

    name: str
    user: str | None = None
    stop_signal = signal.SIGTERM

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix=f"image-pipeline-{self.name}-"))
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None
        if self.user is not None:
            shutil.chown(self.folder, self.user)

    # --- what each server says of itself -------------------------------------------------------

    @abstractmethod
    def command(self) -> list[str]:
        """The program and its arguments; it must stay in the foreground."""

    @abstractmethod
    def is_ready(self) -> bool:
        """Whether the server does its work, by asking it."""

    def environment(self) -> Mapping[str, str]:
        """Variables on top of those of the test run."""
        return {}

    # --- what tests do with it -----------------------------------------------------------------

    def start(self) -> None:
        """Start and wait until it is ready; raises ServerFailed."""
        self._process = self.spawn(self.command(), self.environment())
        self.wait_ready()

    def wait_ready(self) -> None:
        """Wait until the server answers, also after `resume`; raises ServerFailed."""
        deadline = time.monotonic() + START_SECONDS
        while not self.is_ready():
            if self._process is None or self._process.poll() is not None:
                raise ServerFailed(f"{self.name} ended at its start:\n{self._log_end()}")
            if time.monotonic() > deadline:
                raise ServerFailed(f"{self.name} is not ready:\n{self._log_end()}")
            time.sleep(POLL_SECONDS)

    def stop(self) -> None:
        """End it in good order, by force if that takes too long."""
        if self._process is None:
            return
        self._process.send_signal(self.stop_signal)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(STOP_SECONDS)
        self.kill()

    def kill(self) -> None:
        """End it at once, as a power cut would."""
        if self._process is None:
            return
        self._signal(signal.SIGKILL)
        self._process.wait()
        self._process = None

    def pause(self) -> None:
        """Keep its connections open and answer nothing, until `resume`."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._signal(signal.SIGCONT)

    def close(self) -> None:
        """End it and remove what it has written."""
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    # --- inside --------------------------------------------------------------------------------

    @property
    def log(self) -> Path:
        return self.folder / "log.txt"

    def spawn(self, command: list[str], environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
        """A child as the server's user, in a session of its own, that writes to the log."""
        with self.log.open("ab") as log:
            return subprocess.Popen(
                command,
                cwd=self.folder,
                env={**os.environ, **environment},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                user=self.user,
                group=None if self.user is None else pwd.getpwnam(self.user).pw_gid,
                extra_groups=None if self.user is None else [],
            )

    def _signal(self, number: signal.Signals) -> None:
        if self._process is None:
            return
        for pid in (self._process.pid, *descendants(self._process.pid)):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    def _log_end(self) -> str:
        return self.log.read_text(errors="replace")[-2000:] if self.log.exists() else ""


def free_port() -> int:
    """A TCP port of the loopback address that nobody listens on."""
    for port in random.SystemRandom().sample(PORTS, 100):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise ServerFailed("no port is free")


def answers_http(url: str) -> bool:
    """Whether a GET is answered with 2xx within a second."""
    try:
        with urllib.request.urlopen(url, timeout=1.0):
            return True
    except (urllib.error.URLError, OSError):
        return False


def find_program(name: str, folders: Iterable[Path] = ()) -> Path | None:
    """The program on PATH or in one of `folders`."""
    path = os.pathsep.join([os.environ.get("PATH", ""), *map(str, folders)])
    found = shutil.which(name, path=path)
    return None if found is None else Path(found)


def descendants(pid: int) -> list[int]:
    """Children, their children and so on, as /proc has them; empty where there is no /proc."""
    parents: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            # The name, in parentheses, may hold anything; the parent is the second field after it.
            fields = stat.read_text(errors="replace").rpartition(")")[2].split()
            parents.setdefault(int(fields[1]), []).append(int(stat.parent.name))
    found, queue = list[int](), [pid]
    while queue:
        children = parents.get(queue.pop(), [])
        found += children
        queue += children
    return found


def resident_bytes(pid: int) -> int:
    """What the process has in memory, shared pages included; 0 if it is gone."""
    return _kibibytes(pid, "status", "VmRSS:")


def shared_out_bytes(pid: int) -> int:
    """The same, each shared page divided among those that share it."""
    return _kibibytes(pid, "smaps_rollup", "Pss:")


def _kibibytes(pid: int, file: str, name: str) -> int:
    with contextlib.suppress(OSError, StopIteration):
        lines = Path(f"/proc/{pid}/{file}").read_text(encoding="utf-8").splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(name))
    return 0
