"""`make simulate RUNS=100000` or `SEED=n`: many runs, or one of them with its trace hash."""

import argparse
import sys

from tests.simulation.runner import Tally, run_many, run_seed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=10_000)
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--seed", type=int, help="run this one only")
    options = parser.parse_args()
    if options.seed is not None:
        print(f"seed {options.seed}", flush=True)
        world = run_seed(options.seed)
        print(f"trace {world.hash.hexdigest()}, {world.loop.steps} steps")
        return
    seeds = range(options.first, options.first + options.runs)
    print(f"seeds {seeds.start} to {seeds.stop - 1}", flush=True)
    tally = run_many(seeds, progress=_progress)
    print(f"\r{tally}")
    for failure in tally.failures.values():
        print(failure)
    for name in tally.missing:
        print(f"never seen: {name}")
    sys.exit(1 if tally.failures else 0)


def _progress(tally: Tally) -> None:
    print(f"\r{tally}", end="", flush=True)


if __name__ == "__main__":
    main()
