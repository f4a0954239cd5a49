"""Kill and cut for a long time while photos go through: `make soak MINUTES=n [SET=...] [SEED=n]`.

Half of the minutes go to random kills, half to outages of thirty seconds (production only). Every
few seconds a line tells how it goes; the last lines are the report. Exit code 0 if no promise to
a client was broken, 1 otherwise.
"""

import argparse
import asyncio
import sys
import tempfile
from contextlib import AsyncExitStack
from pathlib import Path

from tests.soak.kills import endure_kills
from tests.soak.outages import endure_outages
from tests.support.servers import Minio, Postgres, RabbitMq, Toxiproxy
from tests.support.services import Services
from tests.support.systems import SYSTEM_NAMES, SystemName

DEFAULT_SEED = 1


def main() -> None:
    parser = argparse.ArgumentParser(prog="make soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--set", choices=[*SYSTEM_NAMES, "both"], default="both", dest="name")
    parser.add_argument("--seed", type=int, default=DEFAULT_SEED)
    options = parser.parse_args()
    names = SYSTEM_NAMES if options.name == "both" else (options.name,)
    results = [
        asyncio.run(_soak(name, 60.0 * options.minutes / len(names), options.seed))
        for name in names
    ]
    sys.exit(0 if all(results) else 1)


async def _soak(name: SystemName, seconds: float, seed: int) -> bool:
    """Whether every promise was kept."""
    print(f"{name}: {seconds / 60:.1f} minutes, seed {seed}", flush=True)
    services = Services()
    async with AsyncExitStack() as stack:
        stack.callback(services.close)
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="soak-")))
        if name == "embedded":
            return await endure_kills(name, services, folder, seconds=seconds, seed=seed)
        for kind in (Postgres, RabbitMq, Minio, Toxiproxy):
            services.begin(kind)
        killed = await endure_kills(
            name, services, folder / "kills", seconds=seconds / 2, seed=seed
        )
        cut = await endure_outages(services, folder / "outages", seconds=seconds / 2)
        return killed and cut


if __name__ == "__main__":
    main()
