"""One simulated day: servers, processes that come and go, clients that repeat themselves."""

import asyncio
import hashlib
import tempfile
from collections.abc import Callable, Coroutine
from contextvars import copy_context
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

from application.expire_uploads import ExpireUploads
from application.make_variants import MakeVariants
from application.ports import Ids, Queue
from application.process_media import Lease, ProcessMedia
from application.record_dead_letters import RecordDeadLetters
from application.recover_leases import RecoverLeases
from application.relay_outbox import RelayOutbox
from application.requeue_silent import RequeueSilent
from application.sweep_objects import SweepObjects
from domain.errors import PipelineError
from domain.lifecycle import TERMINAL, State
from domain.media import Media
from domain.recipe import Recipe, VariantSpec
from domain.retry_policy import RetryPolicy
from entrypoints.dispatcher import Dispatcher, DispatcherParts
from entrypoints.worker import Worker, WorkerLimits
from tests.simulation.checks import Checks
from tests.simulation.clients import MAX_BYTES, Users
from tests.simulation.faults import CLOCK_SKEW, Faults
from tests.simulation.loop import Process, SimulationLoop, current_process
from tests.simulation.servers import (
    Outages,
    SimulatedBroker,
    SimulatedConsumer,
    SimulatedDatabase,
    SimulatedEngine,
    SimulatedScratch,
    SimulatedStore,
)

EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
LEASE_SECONDS = 15.0
FAULTS_SECONDS = 60.0
HEALING_SECONDS = 2400.0
STEPS_MAX = 400_000
POLICY = RetryPolicy(requeue_seconds=20.0, sweep_seconds=30.0, cap_seconds=60.0)
RECIPE = Recipe(
    name="simulated",
    variants=tuple(VariantSpec(name=name, width=9, height=9) for name in ("large", "thumb")),
)


class SeededIds(Ids):
    def __init__(self, random: Random) -> None:
        self._random = random
        self._count = 0

    def media_id(self) -> str:
        self._count += 1
        return f"{self._count:026d}"

    def fraction(self) -> float:
        return self._random.random()


@dataclass
class World:
    """Everything of one run. `trace` is a hash over all that was committed, sent and killed."""

    seed: int
    calm: bool = False
    loop: SimulationLoop = field(init=False)
    faults: Faults = field(init=False)
    checks: Checks = field(init=False)

    def __post_init__(self) -> None:
        random = Random(self.seed)
        self.random = random
        self.loop = SimulationLoop(random, steps_max=STEPS_MAX)
        self.loop.on_step = self._strike
        self.faults = Faults.none(random) if self.calm else Faults.drawn(random)
        self.faults.crash = self._crash_current
        self.outages = Outages()
        self.checks = Checks(POLICY, LEASE_SECONDS)
        self.hash = hashlib.sha256()
        self.ids = SeededIds(random)
        self.database = SimulatedDatabase(
            self.clock, self.faults, self.outages, self.checks, self.trace
        )
        self.broker = SimulatedBroker(self.faults, self.outages, self.checks, self.trace)
        self.broker.database = self.database
        self.store = SimulatedStore(self.clock, self.faults, self.outages, self.checks)
        self.database.objects = self.store.etags
        self.database.process_clock = self.process_clock
        self.accepted: dict[str, Media] = {}
        self.policy = POLICY
        self.requeue_window = random.choice([1, 100])
        self.users = Users(self)
        self.stops: dict[Process, asyncio.Event] = {}
        self.processes: dict[str, list[Process]] = {"worker": [], "dispatcher": [], "api": []}
        self.skews: dict[Process, timedelta] = {}
        self.fell_silent: set[str] = set()
        self._names = 0
        self._context = copy_context()

    # --- time and record ---------------------------------------------------------------------

    def clock(self) -> datetime:
        """The database's time: the only true one."""
        return EPOCH + timedelta(seconds=self.loop.time())

    def process_clock(self) -> datetime:
        """What the clock of the current process shows. Nothing may depend on it."""
        return self.clock() + self.skews.get(current_process.get(), timedelta())

    def trace(self, event: str) -> None:
        self.hash.update(f"{self.loop.time():.6f} {event}\n".encode())

    # --- a run -------------------------------------------------------------------------------

    def run(self) -> None:
        """Faults first, then healing; raises a Violation, or what the code under test broke."""
        with tempfile.TemporaryDirectory(prefix="simulation-", dir=_fast_folder()) as folder:
            self.scratch = SimulatedScratch(Path(folder))
            self.loop.run(self._main())

    async def _main(self) -> None:
        for _ in range(self.random.randint(1, 4)):
            self._start("worker", self._worker)
        for _ in range(2):
            self._start("dispatcher", self._dispatcher)
        self._start("api", self._api)
        for number in range(self.random.randint(2, 7)):
            self.loop.spawn(Process(f"client-{number}"), self.users.upload(number))
            self.users.waiting += 1
        self.loop.spawn(Process("operator"), self.users.operate())
        await asyncio.sleep(FAULTS_SECONDS)
        self._heal()
        deadline = self.loop.time() + HEALING_SECONDS
        while (waits_for := self.pending()) is not None:
            self.checks.require(self.loop.time() < deadline, f"for ever: {waits_for}")
            self._raise_violation()
            await asyncio.sleep(1.0)
        self._raise_violation()
        self._check_the_end()

    def _raise_violation(self) -> None:
        self.checks.require(not self.checks.violations, "; ".join(self.checks.violations))

    def pending(self) -> str | None:
        """What the run still waits for, in a sentence; None if nothing."""
        if self.users.waiting:
            return f"{self.users.waiting} clients are not answered yet"
        return self._unfinished_media() or self._unfinished_messages()

    def _unfinished_media(self) -> str | None:
        for media in self.database.tables.media.values():
            if media.state not in TERMINAL:
                return f"media {media.id} is {media.state} since {media.updated_at}"
            if media.deadline_at is not None:
                return f"the objects of media {media.id} wait to be swept"
        return None

    def _unfinished_messages(self) -> str | None:
        for entry in self.database.tables.outbox.values():
            if entry.published_at is None:
                return f"outbox row {entry.row.id} is not published"
        for queue in Queue:
            if self.broker.queues[queue] and not self._nobody_hears(queue):
                return f"{len(self.broker.queues[queue])} messages wait in {queue}"
        unsettled = any(consumer.unacked for consumer in self.broker.consumers)
        return "a delivery is not settled" if unsettled else None

    def _nobody_hears(self, queue: Queue) -> bool:
        """Photos that wait give a deaf consumer away; duplicates of finished ones need not."""
        return all(
            isinstance(consumer, SimulatedConsumer) and consumer.deaf
            for consumer in self.broker.consumers
            if consumer.queue is queue
        )

    def _check_the_end(self) -> None:
        for media_id in sorted(self.accepted):
            media = self.database.tables.media[media_id]
            self.checks.require(
                media.state in (State.READY, State.FAILED), f"media {media_id}: accepted and lost"
            )
            self.checks.require(
                media.state is State.READY or media.failure is not None,
                f"media {media_id} FAILED without a reason",
            )
            for variant in media.variants:
                self.checks.require(variant.key in self.store.objects, f"{variant.key} is gone")
            self.checks.require(
                all(one.outcome is not None for one in media.attempts),
                f"media {media_id} has an attempt without an end",
            )
            if media.state is State.READY and self.faults.struck["engine_failed"] == 0:
                self.checks.only_the_silent_were_charged(media, self.fell_silent)

    # --- processes ---------------------------------------------------------------------------

    def _start(self, kind: str, main: Callable[[Process], Coroutine[Any, Any, None]]) -> None:
        self._names += 1
        process = Process(f"{kind}-{self._names}")
        if self.random.random() < 0.5 and self.faults.on:
            self.skews[process] = timedelta(seconds=self.random.uniform(-120, 120))
            self.faults.struck[CLOCK_SKEW] += 1
        self.processes[kind].append(process)
        self.loop.spawn(process, self._supervised(kind, process, main))

    async def _supervised(
        self, kind: str, process: Process, main: Callable[[Process], Coroutine[Any, Any, None]]
    ) -> None:
        """As a container runtime does: a process that ends is started again, as a new one."""
        try:
            await main(process)
        except PipelineError as error:
            self.trace(f"{process.name} ended: {type(error).__name__}")
        self._gone(kind, process, main)

    def _gone(
        self, kind: str, process: Process, main: Callable[[Process], Coroutine[Any, Any, None]]
    ) -> None:
        if process not in self.processes[kind]:
            return
        self.fell_silent.add(process.name)
        self.processes[kind].remove(process)
        self._later(self.random.uniform(0.1, 10), self._start, kind, main)

    def _later(self, delay: float, callback: Callable[..., object], *args: object) -> None:
        """As the world, whatever process is running now: it may be the one that just died."""
        self.loop.call_later(delay, callback, *args, context=self._context)

    def crash(self, kind: str) -> None:
        """SIGKILL: nothing of it runs again; the broker notices some time later."""
        if self.processes[kind]:
            self._kill(kind, self.random.choice(self.processes[kind]))

    def _crash_current(self) -> None:
        """The process that is running at this very moment."""
        process = current_process.get()
        self._kill(process.name.partition("-")[0], process)

    def _kill(self, kind: str, process: Process) -> None:
        self.trace(f"crash {process.name}")
        process.alive = False
        delay = self.random.uniform(0.0, 30.0)
        self._later(delay, self.broker.lose_process, process)
        self._gone(kind, process, self._mains()[kind])

    def _mains(self) -> dict[str, Callable[[Process], Coroutine[Any, Any, None]]]:
        return {"worker": self._worker, "dispatcher": self._dispatcher, "api": self._api}

    async def _worker(self, process: Process) -> None:
        worker_id = process.name
        self.broker.workers[process] = worker_id
        stop = self.stops[process] = asyncio.Event()
        make_variants = MakeVariants(
            store=self.store,
            engine=SimulatedEngine(self.faults, slow_seconds=2 * LEASE_SECONDS),
            scratch=self.scratch,
            recipe=RECIPE,
            max_bytes=MAX_BYTES,
        )
        process_media = ProcessMedia(
            database=self.database,
            store=self.store,
            make_variants=make_variants,
            ids=self.ids,
            policy=POLICY,
            lease=Lease(worker_id=worker_id, seconds=LEASE_SECONDS),
            on_defect=lambda media_id, error: self.trace(f"defect {media_id} {error}"),
        )
        worker = Worker(
            broker=self.broker,
            overview=self.database.overview,
            process=process_media,
            ids=self.ids,
            limits=WorkerLimits(concurrency=2, grace_seconds=1.0),
        )
        await worker.run(stop)

    async def _dispatcher(self, _: Process) -> None:
        database = self.database
        parts = DispatcherParts(
            relay=database.relay,
            hint=database.hint,
            broker=self.broker,
            ids=self.ids,
            relay_outbox=RelayOutbox(relay=database.relay, publisher=self.broker),
            recover_leases=RecoverLeases(
                database=database, policy=POLICY, lease_seconds=LEASE_SECONDS
            ),
            requeue_silent=RequeueSilent(
                database=database,
                overview=database.overview,
                policy=POLICY,
                window=self.requeue_window,
            ),
            expire_uploads=ExpireUploads(database=database, sweep_seconds=60.0),
            sweep_objects=SweepObjects(database=database, store=self.store),
            record_dead_letters=RecordDeadLetters(database=database, policy=POLICY),
            lease_seconds=LEASE_SECONDS,
        )
        await Dispatcher(parts).run()

    async def _api(self, _: Process) -> None:
        """Answers while it lives; clients call its use cases in its name."""
        await asyncio.Event().wait()

    # --- faults at any step ------------------------------------------------------------------

    def _strike(self) -> None:
        fault = self.faults.strikes_this_step()
        if fault is not None:
            getattr(self, f"_on_{fault}")()

    def _on_worker_crashed(self) -> None:
        self.crash("worker")

    def _on_dispatcher_crashed(self) -> None:
        self.crash("dispatcher")

    def _on_api_crashed(self) -> None:
        self.crash("api")

    def _on_process_paused(self) -> None:
        """One worker, or all dispatchers; longer than a lease, or not; then they come back."""
        kind = self.random.choice(["worker", "worker", "dispatcher"])
        chosen = list(self.processes[kind])
        if kind == "worker" and chosen:
            chosen = [self.random.choice(chosen)]
        longest = self.random.choice([LEASE_SECONDS, 1.5 * LEASE_SECONDS, 3 * LEASE_SECONDS])
        until = self.loop.time() + self.random.uniform(LEASE_SECONDS / 2, longest)
        for process in chosen:
            self.fell_silent.add(process.name)
            process.paused_until = until
            self.trace(f"pause {process.name}")

    def _on_connection_dropped(self) -> None:
        consumers = list(self.broker.consumers)
        if consumers:
            self.random.choice(consumers).drop()

    def _on_consumer_deafened(self) -> None:
        for consumer in self.broker.consumers:
            assert isinstance(consumer, SimulatedConsumer)
            if consumer.queue is Queue.PROCESS:
                consumer.deaf = True
                return

    def _on_queue_lost(self) -> None:
        self.trace("queue lost")
        self.broker.lose_queue()

    def _on_worker_stopped(self) -> None:
        """SIGTERM."""
        if self.processes["worker"]:
            process = self.random.choice(self.processes["worker"])
            if process in self.stops:
                self.fell_silent.add(process.name)
                self.trace(f"stop {process.name}")
                self.stops[process].set()

    def _on_database_outage(self) -> None:
        self._outage("database")

    def _on_broker_outage(self) -> None:
        self._outage("broker")

    def _on_store_outage(self) -> None:
        self._outage("store")

    def _outage(self, server: str) -> None:
        setattr(self.outages, server, True)
        self.trace(f"{server} down")
        duration = self.random.uniform(1.0, 30.0)
        self.loop.call_later(duration, setattr, self.outages, server, False)

    def _heal(self) -> None:
        """From here on nothing fails any more; what was lost must come back by itself."""
        self.faults.on = False
        self.outages.database = self.outages.broker = self.outages.store = False
        self.trace("healed")


def _fast_folder() -> str | None:
    """Memory, where the machine has a folder in it."""
    return "/dev/shm" if Path("/dev/shm").is_dir() else None
