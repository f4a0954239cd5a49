"""Many runs, over all cores; what they covered and which seeds failed."""

import logging
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path

from domain.lifecycle import TRANSITIONS, State
from tests.simulation.faults import ALL_FAULTS
from tests.simulation.world import World

FAILURES = Path(__file__).parent / "failed_seeds.txt"
CHUNK = 25

Arrows = Counter[tuple[State, State]]


@dataclass
class Tally:
    """What a number of runs have seen. `failures` maps a seed to its sentence."""

    runs: int = 0
    seen: Arrows = field(default_factory=Counter[tuple[State, State]])
    struck: Counter[str] = field(default_factory=Counter[str])
    failures: dict[int, str] = field(default_factory=dict[int, str])
    seconds: float = 0.0

    def add(self, other: "Tally") -> None:
        self.runs += other.runs
        self.seen.update(other.seen)
        self.struck.update(other.struck)
        self.failures.update(other.failures)

    @property
    def missing(self) -> list[str]:
        """Arrows of the lifecycle and kinds of fault that no run has seen."""
        arrows = {(arrow.source, arrow.dest) for arrow in TRANSITIONS}
        unseen = [f"{source} -> {dest}" for source, dest in sorted(arrows - set(self.seen))]
        return unseen + sorted(ALL_FAULTS - set(self.struck))

    def __str__(self) -> str:
        rate = self.runs / self.seconds if self.seconds else 0.0
        return (
            f"{self.runs} runs, {self.seconds:.1f} s, {rate:.0f} runs/s, "
            f"{sum(self.struck.values())} faults, {sum(self.seen.values())} transitions, "
            f"{len(self.failures)} failed"
        )


def run_seed(seed: int, *, level: int = logging.CRITICAL + 1) -> World:
    """One run, whose log lines from `level` up are shown; raises what broke, saying the seed."""
    root = logging.getLogger()
    before = root.level
    root.setLevel(level)
    world = World(seed)
    try:
        world.run()
    except Exception as error:
        raise AssertionError(f"seed {seed}: {error or type(error).__name__}") from error
    finally:
        root.setLevel(before)
    return world


def run_seeds(seeds: Sequence[int]) -> Tally:
    """These runs, one after another, in this process."""
    tally = Tally()
    for seed in seeds:
        tally.runs += 1
        try:
            world = run_seed(seed)
        except AssertionError as failure:
            tally.failures[seed] = str(failure)
            continue
        tally.seen.update(world.checks.seen)
        tally.struck.update(world.faults.struck)
    return tally


def run_many(seeds: range, *, progress: Callable[[Tally], None] = lambda _: None) -> Tally:
    """All seeds over all cores. Seeds that failed are added to `failed_seeds.txt`."""
    began = time.perf_counter()
    total = Tally()
    workers = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        for part in pool.map(run_seeds, _chunks(seeds)):
            total.add(part)
            total.seconds = time.perf_counter() - began
            progress(total)
    remember(total.failures)
    return total


def _chunks(seeds: range) -> Iterator[range]:
    return (seeds[start : start + CHUNK] for start in range(0, len(seeds), CHUNK))


def remember(failures: dict[int, str]) -> None:
    """Keep failing seeds, to be run first from now on."""
    if failures:
        with FAILURES.open("a") as file:
            file.writelines(f"{seed}\n" for seed in failures)


def remembered() -> list[int]:
    """The seeds that have failed before."""
    return sorted({int(line) for line in FAILURES.read_text().split()}) if FAILURES.exists() else []
