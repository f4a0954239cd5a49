"""One process of the product, as a container runtime sees it: started, signalled, read, ended."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from tests.support.process import answers_http, descendants
from tests.support.waiting import eventually

ROOT = Path(__file__).parents[2]
START_SECONDS = 60.0
END_SECONDS = 30.0


class ProductProcess:
    """`pipeline ROLE` with an environment of its own; its pages answer on `port`.

    What it says, over all its lives, is in `log`.
    """

    def __init__(
        self, role: str, log: Path, environment: Mapping[str, str], *, port: int | None = None
    ) -> None:
        self.role = role
        self.log = log
        self.port = port
        self.wanted = False
        self.starts = 0
        self._environment = dict(environment)
        self._process: subprocess.Popen[bytes] | None = None
        self._forked: set[int] = set()

    # --- life --------------------------------------------------------------------------------

    def start(self) -> None:
        self.wanted = True
        self.starts += 1
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "entrypoints.cli", self.role],
                cwd=ROOT,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    async def ready(self, *, supervised: bool = False) -> None:
        """Wait until it says that it can do its work; where nobody restarts it, it must not end."""
        url = f"http://127.0.0.1:{self.port}/health/ready"

        async def asked() -> bool:
            alive = supervised or self.running
            assert alive, f"{self.role} ended at its start:\n{self.output()[-3000:]}"
            return await asyncio.to_thread(answers_http, url)

        await eventually(asked, seconds=START_SECONDS)

    async def ended(self, seconds: float = END_SECONDS) -> int:
        """Its exit code, negative for a signal, once it is over."""

        async def code() -> int | None:
            return self._popen.poll()

        answer = await eventually(code, until=lambda c: c is not None, seconds=seconds)
        assert answer is not None
        return answer

    def kill(self) -> bool:
        """At once, as a power cut would; a supervisor starts it again. Whether it was running."""
        if not self.running:
            return False
        self._remember_forked()
        self.signal(signal.SIGKILL)
        self.resume_forked()
        return True

    def kill_a_decoder(self) -> bool:
        """End a child that decodes at this moment, if there is one."""
        decoders = self.decoders() if self.running else []
        for pid in decoders[:1]:
            _send(pid, signal.SIGKILL)
        return bool(decoders)

    async def stop(self, seconds: float = END_SECONDS) -> int:
        """SIGTERM, as an orderly shutdown does; its exit code."""
        self.wanted = False
        self.signal(signal.SIGTERM)
        return await self.ended(seconds)

    def close(self) -> None:
        """Leave nothing of it behind, whatever it does."""
        self.wanted = False
        if self._process is None:
            return
        self._remember_forked()
        self.signal(signal.SIGCONT)
        if self.running:
            self.signal(signal.SIGKILL)
        self._process.wait()
        for pid in self._forked_alive():
            _send(pid, signal.SIGKILL)

    # --- signals -----------------------------------------------------------------------------

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def exit_code(self) -> int | None:
        """Negative for a signal; None while it runs."""
        return self._popen.poll()

    @property
    def pid(self) -> int:
        return self._popen.pid

    def signal(self, number: signal.Signals) -> None:
        if self.running:
            _send(self.pid, number)

    def pause(self) -> None:
        """The process and everything it has forked stand still."""
        for pid in (self.pid, *descendants(self.pid)):
            _send(pid, signal.SIGSTOP)

    def resume(self) -> None:
        for pid in (self.pid, *descendants(self.pid)):
            _send(pid, signal.SIGCONT)

    @property
    def forkserver(self) -> int:
        """The process that decoders are forked from."""
        return next(iter(_children(self.pid)))

    def decoders(self) -> list[int]:
        """The children that decode at this moment."""
        return [child for server in _children(self.pid) for child in _children(server)]

    def hold_decoding(self) -> None:
        """From now on no photo gets a decoder: whoever claims one has it in hand."""
        self._remember_forked()
        _send(self.forkserver, signal.SIGSTOP)

    def resume_forked(self) -> None:
        for pid in self._forked_alive():
            _send(pid, signal.SIGCONT)

    async def forked_are_gone(self) -> None:
        """Wait until nothing is left of what killed lives had forked."""

        async def alive() -> list[int]:
            return self._forked_alive()

        await eventually(alive, until=lambda pids: not pids)

    def _remember_forked(self) -> None:
        self._forked.update(descendants(self.pid))

    def _forked_alive(self) -> list[int]:
        """Those that still run; a number that was given to a stranger meanwhile is not ours."""
        return [pid for pid in self._forked if pid != self.pid and _is_a_forkserver_or_child(pid)]

    # --- what it says ------------------------------------------------------------------------

    def output(self) -> str:
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def events(self, name: str) -> list[dict[str, Any]]:
        """The JSON log lines of one event."""
        lines = [line for line in self.output().splitlines() if line.startswith("{")]
        return [event for event in map(json.loads, lines) if event.get("event") == name]

    def count_lines(self) -> int:
        return len(self.output().splitlines())

    @property
    def _popen(self) -> "subprocess.Popen[bytes]":
        assert self._process is not None, f"{self.role} was never started"
        return self._process


def run_once(role: str, environment: Mapping[str, str]) -> "subprocess.CompletedProcess[str]":
    """A process that ends by itself."""
    return subprocess.run(
        [sys.executable, "-m", "entrypoints.cli", role],
        cwd=ROOT,
        env=dict(environment),
        capture_output=True,
        text=True,
        check=False,
        timeout=START_SECONDS,
    )


def _children(pid: int) -> list[int]:
    with suppress(OSError):
        text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
        return [int(child) for child in text.split()]
    return []


def _is_a_forkserver_or_child(pid: int) -> bool:
    with suppress(OSError):
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
        return b"adapters.sandbox.forkserver" in command
    return False


def _send(pid: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, number)
