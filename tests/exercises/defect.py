"""Switch one deliberate defect on, and see what the simulation says.

.venv/bin/python -m tests.exercises.defect
.venv/bin/python -m tests.exercises.defect mark_before_confirm
"""

import argparse

from tests.simulation.mutants import MUTANTS, switched_on
from tests.simulation.runner import run_seeds

SHOWN = 3
DEFECTS = {mutant.__name__: mutant for mutant in MUTANTS}


def try_defect(name: str, runs: int) -> None:
    mutant = DEFECTS[name]
    print(f"{name}: {mutant.__doc__}")
    with switched_on(mutant):
        broken = run_seeds(range(runs)).failures
    print(f"{len(broken)} of {runs} runs break a promise")
    for sentence in list(broken.values())[:SHOWN]:
        print(f"  {sentence.split('; ')[0]}")
    print(f"the same runs without the defect: {len(run_seeds(list(broken)).failures)} break one")


def main() -> None:
    parser = argparse.ArgumentParser(description="Simulate with one deliberate defect.")
    parser.add_argument("name", nargs="?", choices=DEFECTS, metavar="NAME")
    parser.add_argument("--runs", type=int, default=60)
    options = parser.parse_args()
    if options.name:
        try_defect(options.name, options.runs)
        return
    for name, mutant in DEFECTS.items():
        print(f"{name:<28} {mutant.__doc__}")


if __name__ == "__main__":
    main()
