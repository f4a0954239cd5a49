"""The crash table of ARCHITECTURE.md: one crash right after each step, on a day without others.

Each row says how long the photo may take, in virtual seconds, from the crash to READY. And an
outage of the database, longer than a lease, instead of a crash.
"""

import asyncio
from collections.abc import Callable

import pytest

from domain.lifecycle import State
from tests.simulation.loop import Process
from tests.simulation.world import LEASE_SECONDS, World

RECOVERY = 1.5 * LEASE_SECONDS + 8  # until the lease is found lost, then at most 8 s of work
HOLD = 45.0  # a relay that died holds its rows for 30 s

CRASHES = {
    "PENDING_UPLOAD committed": 20.0,
    "UPLOADED committed": 20.0,
    "published": HOLD,
    "marked": 20.0,
    "PROCESSING committed": RECOVERY,
    "downloaded": RECOVERY,
    "rendered": RECOVERY,
    "variant stored": RECOVERY,
    "READY committed": 0.1,
    "acked": 0.1,
}


class _OnePhoto(World):
    """One client, one photo, everything else in good order."""

    crashed_at = float("inf")
    ready_at = float("inf")

    async def _main(self) -> None:
        self._start("worker", self._worker)
        self._start("dispatcher", self._dispatcher)
        self._start("api", self._api)
        crash = self.faults.crash

        def crash_and_note() -> None:
            self.crashed_at = self.loop.time()
            crash()

        self.faults.crash = crash_and_note
        self.users.waiting = 1
        self.loop.spawn(Process("client"), self.users.upload(0))
        await self._until(self._is_ready)
        self.ready_at = self.loop.time()
        await self._until(lambda: not self.faults.crash_after and not self.pending())
        self._raise_violation()
        self._check_the_end()

    def _is_ready(self) -> bool:
        return any(one.state is State.READY for one in self.database.tables.media.values())

    async def _until(self, condition: Callable[[], bool]) -> None:
        while not condition():  # noqa: ASYNC110 - virtual time costs nothing
            await asyncio.sleep(0.05)


@pytest.mark.parametrize("step", CRASHES)
def test_a_photo_survives_a_crash_right_after(step: str) -> None:
    world = _OnePhoto(seed=1, calm=True)
    world.faults.crash_after = step

    world.run()

    assert world.ready_at - world.crashed_at <= CRASHES[step]
    (media_id,) = world.accepted
    media = world.database.tables.media[media_id]
    kept = {media.original_key, *(variant.key for variant in media.variants)}
    objects = {key for key in world.store.objects if media_id in key}
    assert objects == kept, "exactly one set of variants, and no garbage"


class _DatabaseAway(_OnePhoto):
    """The database goes away as soon as the photo is in hand, for longer than its lease lasts."""

    struck = False

    def _strike(self) -> None:
        in_hand = any(m.state is State.PROCESSING for m in self.database.tables.media.values())
        if in_hand and not self.struck:
            self.struck = self.outages.database = True
            duration = self.random.uniform(1.0, 4.0) * LEASE_SECONDS
            self._later(duration, setattr, self.outages, "database", False)


@pytest.mark.parametrize("seed", range(4, 24))  # in 3 the client never completes its upload
def test_an_outage_of_the_database_charges_no_attempt(seed: int) -> None:
    world = _DatabaseAway(seed=seed, calm=True)

    world.run()

    (media_id,) = world.accepted
    media = world.database.tables.media[media_id]
    assert (media.state, media.attempt, media.lost_leases) == (State.READY, 1, 0)
