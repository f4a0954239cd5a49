"""One process under measurement: started, ready, ended with everything below it."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from tests.support.process import answers_http, descendants

ROOT = Path(__file__).parents[1]
READY_SECONDS = 60.0
STOP_SECONDS = 15.0


class Process:
    """`command` with an environment of its own; what it says goes to `log`."""

    def __init__(
        self,
        command: Sequence[str],
        environment: Mapping[str, str],
        log: Path,
        *,
        port: int | None = None,
        folder: Path = ROOT,
    ) -> None:
        self.port = port
        self.log = log
        with log.open("ab") as output:
            self._popen = subprocess.Popen(  # noqa: S603 - our own commands
                list(command),
                cwd=folder,
                env=dict(environment),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        return self._popen.pid

    async def ready(self) -> None:
        """Wait until its health page says so; a process that ends before is an error."""
        async with asyncio.timeout(READY_SECONDS):
            while not answers_http(f"http://127.0.0.1:{self.port}/health/ready"):
                if self._popen.poll() is not None:
                    raise SystemExit(f"ended at its start:\n{self.log.read_text()[-3000:]}")
                await asyncio.sleep(0.05)

    def close(self) -> None:
        """SIGTERM, and after a while SIGKILL, for the process and what it has started."""
        below = descendants(self.pid)
        self._popen.send_signal(signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            self._popen.wait(STOP_SECONDS)
        if self._popen.poll() is None:
            below += descendants(self.pid)
            for pid in (self.pid, *below):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        self._popen.wait()


def python(module: str, *arguments: str, told: bool = True) -> list[str]:
    """The command of a module; one that is not `told` runs without its telemetry."""
    untold = [] if told else ["-m", "benchmarks.untold"]
    return [sys.executable, *(untold or ["-m"]), module, *arguments]


def product(role: str, *, told: bool = True) -> list[str]:
    """The command of one of the product's own processes."""
    return python("entrypoints.cli", role, told=told)
