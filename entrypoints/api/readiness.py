"""Whether this process can do its work, known at any moment without asking anybody.

Each dependency is asked over and over in a task of its own. A probe is answered from what is
known, so it is quick while a server hangs; what hangs counts as not ready.
"""

import asyncio
from collections.abc import Sequence
from types import TracebackType
from typing import Self

from msgspec import Struct

from adapters.events import get_logger
from application.ports import Dependency
from domain.errors import Unavailable

_log = get_logger(__name__)

UNKNOWN = "was not checked yet"
UNAVAILABLE = "is unavailable"
SILENT = "did not answer in time"
BROKEN = "could not be checked"


class NotReady(Struct):
    """A dependency that is missing, and in which way. The whole reason stands in the log."""

    name: str
    reason: str


class Readiness:
    """Use it as an async context manager: it watches for as long as it is open.

    `interval_seconds` lie between two checks of a dependency, `timeout_seconds` are given to
    each. `notes` are sentences for the operator that do not make the process unready.
    """

    def __init__(
        self,
        dependencies: Sequence[Dependency],
        *,
        interval_seconds: float = 2.0,
        timeout_seconds: float = 1.0,
        notes: Sequence[str] = (),
    ) -> None:
        self.notes = tuple(notes)
        self._dependencies = tuple(dependencies)
        self._interval_seconds = interval_seconds
        self._timeout_seconds = timeout_seconds
        self._reasons: list[str | None] = [UNKNOWN] * len(self._dependencies)
        self._watchers: list[asyncio.Task[None]] = []

    @property
    def problems(self) -> list[NotReady]:
        """What is not ready by the latest checks, in the order of the dependencies."""
        pairs = zip(self._dependencies, self._reasons, strict=True)
        return [NotReady(dependency.name, reason) for dependency, reason in pairs if reason]

    async def __aenter__(self) -> Self:
        self._watchers = [
            asyncio.create_task(self._watch(index, dependency))
            for index, dependency in enumerate(self._dependencies)
        ]
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for watcher in self._watchers:
            watcher.cancel()
        await asyncio.gather(*self._watchers, return_exceptions=True)
        self._watchers = []

    async def _watch(self, index: int, dependency: Dependency) -> None:
        while True:
            check = asyncio.create_task(self._check(index, dependency))
            try:
                await asyncio.wait({check}, timeout=self._timeout_seconds)
                if not check.done():
                    self._note(index, dependency, SILENT)
                    check.cancel()
                    # A check that does not heed its cancellation is not asked a second time.
                    await asyncio.wait({check})
            finally:
                check.cancel()
            await asyncio.sleep(self._interval_seconds)

    async def _check(self, index: int, dependency: Dependency) -> None:
        try:
            await dependency.check()
        except Unavailable as error:
            self._note(index, dependency, UNAVAILABLE, error)
        except Exception as error:  # noqa: BLE001 - whatever it is, the dependency is not usable
            self._note(index, dependency, BROKEN, error)
        else:
            self._note(index, dependency, None)

    def _note(
        self,
        index: int,
        dependency: Dependency,
        reason: str | None,
        error: Exception | None = None,
    ) -> None:
        """Remember, and log when it has changed: not at every check."""
        before, self._reasons[index] = self._reasons[index], reason
        if reason is None and before not in {None, UNKNOWN}:
            _log.info("dependency_ready", dependency=dependency.name)
        elif reason is not None and before != reason:
            _log.warning(
                "dependency_not_ready", error=error, dependency=dependency.name, reason=reason
            )
