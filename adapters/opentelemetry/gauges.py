"""What is asked of servers for the metrics page: in the background, never by a scrape."""

import asyncio
from collections.abc import Callable

from adapters.events import get_logger
from adapters.opentelemetry.instruments import (
    BACKLOG_AGE,
    DEAD_LETTERS_KEPT,
    DEPENDENCY_UP,
    MEDIA_OLDEST,
    MEDIA_WAITING,
    OUTBOX_DEPTH,
    OUTBOX_OLDEST,
)
from adapters.opentelemetry.metrics import Metrics, Values
from adapters.opentelemetry.stopwatch import Stopwatch
from application.ports import Dependency, Overview
from application.values import Backlog, Waiting
from domain.lifecycle import TERMINAL, State

_log = get_logger("pipeline.backlog")
_NOBODY = Waiting(0, 0.0)


class BacklogPoller:
    """Keeps the latest `Overview.backlog()` for the gauges of a dispatcher.

    While the database is away the ages go on growing, so that an alert on them still fires, and
    `pipeline.backlog.snapshot_age` tells how old the counts are.
    """

    def __init__(self, overview: Overview, metrics: Metrics, *, every_seconds: float = 5.0) -> None:
        self._overview = overview
        self._every_seconds = every_seconds
        self._backlog: Backlog | None = None
        self._age = Stopwatch()
        self._watch(metrics)

    async def run(self) -> None:
        """Poll until cancelled; an outage is said once (see `Repeats`), and polling goes on."""
        while True:
            await self.poll()
            await asyncio.sleep(self._every_seconds)

    async def poll(self) -> None:
        """Take one snapshot, or keep the former one if the database does not answer."""
        try:
            self._backlog = await self._overview.backlog()
            self._age = Stopwatch()
        except Exception as error:  # noqa: BLE001 - no figures are no reason to stop relaying
            _log.warning("backlog_unknown", dependency="database", error=error)

    def _watch(self, metrics: Metrics) -> None:
        metrics.watch(MEDIA_WAITING, lambda: self._by_state(lambda w: w.count))
        metrics.watch(MEDIA_OLDEST, lambda: self._by_state(self._oldest))
        metrics.watch(OUTBOX_DEPTH, lambda: self._one(lambda b: b.outbox.count))
        metrics.watch(OUTBOX_OLDEST, lambda: self._one(lambda b: self._oldest(b.outbox)))
        metrics.watch(DEAD_LETTERS_KEPT, lambda: self._one(lambda b: b.dead_letters))
        metrics.watch(BACKLOG_AGE, lambda: self._one(lambda _: self._age.seconds))

    def _by_state(self, value: Callable[[Waiting], float]) -> Values:
        backlog = self._backlog
        if backlog is None:
            return []
        waiting = [state for state in State if state not in TERMINAL]
        return [({"state": s.value}, value(backlog.media.get(s, _NOBODY))) for s in waiting]

    def _one(self, value: Callable[[Backlog], float]) -> Values:
        return [] if self._backlog is None else [({}, value(self._backlog))]

    def _oldest(self, waiting: Waiting) -> float:
        return waiting.oldest_seconds + self._age.seconds if waiting.count else 0.0


class ObservedDependency(Dependency):
    """Sets `pipeline.dependency.up` by what each check finds."""

    def __init__(self, inner: Dependency, metrics: Metrics) -> None:
        self._inner = inner
        self._metrics = metrics

    @property
    def name(self) -> str:
        return self._inner.name

    async def check(self) -> None:
        try:
            await self._inner.check()
        except BaseException:
            self._metrics.observe(DEPENDENCY_UP, 0, dependency=self.name)
            raise
        self._metrics.observe(DEPENDENCY_UP, 1, dependency=self.name)
