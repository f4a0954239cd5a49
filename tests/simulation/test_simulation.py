"""Safety under faults, recovery after them; and proof that the simulation would notice."""

import os
import subprocess
import sys
from collections.abc import Callable

import pytest

from tests.simulation.mutants import MUTANTS, switched_on
from tests.simulation.runner import remembered, run_many, run_seed, run_seeds

RUNS = 1500
FIRST_SEED = 1


def test_seeds_that_failed_before_hold_now() -> None:
    assert run_seeds(remembered()).failures == {}


@pytest.mark.timeout(240)
def test_nothing_is_lost_or_finished_twice_in_many_runs() -> None:
    print(f"seeds {FIRST_SEED} to {FIRST_SEED + RUNS - 1}")

    tally = run_many(range(FIRST_SEED, FIRST_SEED + RUNS))

    print(tally)
    assert tally.failures == {}
    assert tally.missing == [], "a transition or a fault never occurred: the runs prove less"


def test_the_same_seed_gives_the_same_run_in_any_process() -> None:
    command = [sys.executable, "-m", "tests.simulation", "--seed", "7"]
    hashes = {
        subprocess.run(
            command,
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        for hash_seed in ("1", "2")
    }

    assert hashes == {f"seed 7\ntrace {run_seed(7).hash.hexdigest()}, {_steps(7)} steps\n"}


def test_two_seeds_give_two_runs() -> None:
    assert run_seed(1).hash.digest() != run_seed(2).hash.digest()


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.__name__)
def test_a_deliberate_defect_is_caught(mutant: Callable[[pytest.MonkeyPatch], None]) -> None:
    with switched_on(mutant):
        caught = next((s for s in range(MUTANTS[mutant]) if run_seeds([s]).failures), None)

    assert caught is not None, f"not caught within {MUTANTS[mutant]} runs"
    assert run_seeds([caught]).failures == {}, "the same run without the defect holds"
    print(f"caught by run {caught + 1}")


def _steps(seed: int) -> int:
    return run_seed(seed).loop.steps
