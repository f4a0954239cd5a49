"""Which faults a run has, and how often each: drawn from the seed, so that every run is another.

Some runs are calm but for one kind of fault, some are a storm of all of them, and in some a server
goes away again and again: in a storm nobody could tell what that alone does.
"""

import asyncio
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random

# Faults of one call, with the largest probability that a run may draw for it.
CALL_FAULTS: dict[str, float] = {
    "database_unavailable": 0.05,
    "commit_lost": 0.05,
    "commit_answer_lost": 0.08,
    "publish_failed": 0.2,
    "publish_confirm_lost": 0.2,
    "publish_confirm_late": 0.3,
    "message_duplicated": 0.2,
    "message_delayed": 0.2,
    "message_reordered": 0.3,
    "message_lost": 0.5,
    "message_garbled": 0.02,
    "message_dead_lettered": 0.05,
    "ack_lost": 0.2,
    "store_failed": 0.1,
    "store_written_but_failed": 0.1,
    "engine_failed": 0.1,
    "decoding_slow": 0.3,
}
# Faults that strike at any step, with their largest probability per step.
STEP_FAULTS: dict[str, float] = {
    "worker_crashed": 0.002,
    "dispatcher_crashed": 0.001,
    "api_crashed": 0.002,
    "process_paused": 0.006,
    "connection_dropped": 0.002,
    "consumer_deafened": 0.0002,
    "worker_stopped": 0.001,
    "queue_lost": 0.001,
    "database_outage": 0.0003,
    "broker_outage": 0.0003,
    "store_outage": 0.0003,
}
# A day on which servers go away while long work is under way, and nothing else happens.
OUTAGE_DAY: dict[str, float] = {"connection_dropped": 0.01, "decoding_slow": 0.5}
OUTAGES: dict[str, float] = {
    "database_outage": 0.002,
    "broker_outage": 0.001,
    "store_outage": 0.001,
}
OUTAGE_DAYS = 1 / 6
CLOCK_SKEW = "clock_skew"
ALL_FAULTS = frozenset({*CALL_FAULTS, *STEP_FAULTS, CLOCK_SKEW})


@dataclass
class Faults:
    """The faults of one run. `struck` counts those that happened."""

    random: Random
    rates: dict[str, float] = field(default_factory=dict[str, float])
    struck: Counter[str] = field(default_factory=Counter[str])
    on: bool = True
    crash_after: str | None = None
    crash: Callable[[], None] = lambda: None

    @classmethod
    def none(cls, random: Random) -> "Faults":
        """A day on which nothing fails, unless `crash_after` names a step."""
        return cls(random, dict.fromkeys({**CALL_FAULTS, **STEP_FAULTS}, 0.0))

    @classmethod
    def drawn(cls, random: Random) -> "Faults":
        if random.random() < OUTAGE_DAYS:
            return cls._of_outages(random)
        faults = cls(random)
        intensity = random.random()
        for name, largest in sorted({**CALL_FAULTS, **STEP_FAULTS}.items()):
            present = random.random() < intensity
            faults.rates[name] = largest * random.random() if present else 0.0
        return faults

    @classmethod
    def _of_outages(cls, random: Random) -> "Faults":
        faults = cls.none(random)
        (outage,) = random.choices(list(OUTAGES), list(OUTAGES.values()))
        faults.rates |= {**OUTAGE_DAY, outage: OUTAGES[outage]}
        return faults

    def strikes(self, name: str) -> bool:
        """Whether this fault happens now."""
        rate = self.rates[name]
        if not self.on or rate == 0.0 or self.random.random() >= rate:
            return False
        self.struck[name] += 1
        return True

    def strikes_this_step(self) -> str | None:
        """The fault that strikes at this step, if any does; one draw for all kinds."""
        if not self.on:
            return None
        drawn = self.random.random()
        for name in STEP_FAULTS:
            rate = self.rates[name]
            if drawn < rate:
                self.struck[name] += 1
                return name
            drawn -= rate
        return None

    async def after(self, step: str) -> None:
        """A step was done. The first time that it is `crash_after`, the process ends right here."""
        if step == self.crash_after:
            self.crash_after = None
            self.crash()
            await asyncio.Event().wait()
