"""One random sequence of operations drives all databases in step; they must never disagree.

Each step is drawn once and done on every database under the same virtual clock. What it answers
and all that can be seen afterwards must be equal, to the microsecond. A failure names its seed.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from random import Random
from typing import Any

import pytest

from application.ports import MediaRepository
from application.values import Backlog, Due, OutboxRow, Waiting
from domain.errors import IllegalTransition, LeaseLost, VersionConflict
from domain.failure import FailureCode
from domain.lifecycle import State
from domain.media import Change, Media
from tests.support import builders
from tests.support.builders import POLICY
from tests.support.services import Services
from tests.support.sets import SetName
from tests.support.virtual_time import AnyDatabase, VirtualClock, databases_in_step

pytestmark = pytest.mark.anyio

STEPS = 80
PHOTOS = range(1, 7)
LETTERS = range(1, 4)
STATES = frozenset(State)


Verb = Callable[[Media, datetime], Change]
Step = Callable[["Twin"], Awaitable[Any]]

VERBS: dict[str, Verb] = {
    "complete": lambda media, now: media.complete_upload(
        now=now, policy=POLICY, etag="e", size=1, traceparent=None
    ),
    "claim": lambda media, now: builders.claim(media, now=now),
    "renew": lambda media, now: Change(
        media.renew_lease(now=now, token=media.lease_token, lease_seconds=15), moved=True
    ),
    "finish": lambda media, now: builders.finish(media, now=now),
    "retry": lambda media, now: builders.retry(media, now=now),
    "postpone": lambda media, now: builders.retry(media, now=now, charged=False),
    "fail": lambda media, now: builders.fail(media, now=now),
    "fail otherwise": lambda media, now: builders.fail(
        media, now=now, code=FailureCode.IMAGE_CORRUPT
    ),
    "release": lambda media, now: media.release(now=now, policy=POLICY, token=media.lease_token),
    "lose": lambda media, now: media.lose_lease(now=now, policy=POLICY),
    "requeue": lambda media, now: media.requeue(now=now, policy=POLICY),
    "expire": lambda media, now: media.expire(now=now),
    "reprocess": lambda media, now: media.reprocess(now=now, policy=POLICY),
    "sweep": lambda media, now: Change(
        media.swept(now=now) if media.is_terminal else media, moved=media.is_terminal
    ),
}
# Most photos should get somewhere: the verbs of a good life are drawn more often.
WEIGHTS = [5 if name in {"complete", "claim", "finish"} else 1 for name in VERBS]


@dataclass
class Twin:
    """One of the databases, and the ids that its outbox gave to the rows that were claimed."""

    database: AnyDatabase
    claimed: list[int] = field(default_factory=list[int])

    async def add(self, number: int) -> str:
        try:
            async with self.database.begin() as uow:
                await uow.media.add(builders.pending(number, now=uow.now))
                await uow.commit()
        except VersionConflict as conflict:
            return str(conflict)
        return "added"

    async def change(
        self, number: int, verb: Verb, *, delay_seconds: float, commit: bool
    ) -> Media | str | None:
        """Let a verb change the photo, with a message in the outbox, or undo it all."""
        async with self.database.begin() as uow:
            media = await uow.media.get(builders.ulid(number), lock=True)
            if media is None:
                return None
            try:
                change = verb(media, uow.now)
            except (IllegalTransition, LeaseLost) as refused:
                return str(refused)
            if change.moved:
                await uow.media.save(change.media)
            await uow.enqueue(builders.request(number), delay_seconds=delay_seconds)
            if commit:
                await uow.commit()
            return change.media

    async def due(
        self, states: frozenset[State], limit: int
    ) -> tuple[Sequence[Due], Sequence[Due]]:
        async with self.database.begin() as uow:
            first = await uow.media.due(states, limit=limit)
            return first, await _next_page(uow.media, states, limit, first)

    async def claim(self, limit: int, hold_seconds: float) -> list[OutboxRow]:
        rows = await self.database.relay.claim(limit=limit, hold_seconds=hold_seconds)
        self.claimed += [row.id for row in rows]
        return [_without_id(row) for row in rows]

    async def mark_published(self, places: Sequence[int]) -> None:
        await self.database.relay.mark_published(self._ids(places))

    async def release(self, places: Sequence[int]) -> None:
        await self.database.relay.release(self._ids(places))

    async def prune(self, older_than_seconds: float) -> int:
        return await self.database.relay.prune(older_than_seconds=older_than_seconds, limit=1000)

    async def keep(self, number: int, *, replay: bool) -> None:
        async with self.database.begin() as uow:
            letter = builders.letter(number, received_at=uow.now, body=str(uow.now).encode())
            await uow.dead_letters.keep(letter)
            if replay:
                await uow.dead_letters.mark_replayed(letter.id)
            await uow.commit()

    async def everything(self) -> dict[str, Any]:
        """All that can be seen through the ports."""
        overview = self.database.overview
        async with self.database.begin() as uow:
            return {
                "now": uow.now,
                "media": [await uow.media.get(builders.ulid(number)) for number in PHOTOS],
                "due": await uow.media.due(STATES, limit=100),
                "letters": await uow.dead_letters.list(limit=100),
                "letter": await uow.dead_letters.get("letter-1"),
            } | {
                "backlog": _without_zeros(await overview.backlog()),
                "totals": {s: n for s, n in (await overview.totals()).items() if n},
                "failed": await overview.failed(code=None, limit=3),
                "truncated": await overview.failed(code=FailureCode.IMAGE_TRUNCATED, limit=3),
            }

    def _ids(self, places: Sequence[int]) -> list[int]:
        return [self.claimed[place] for place in places]


def draw(random: Random, claimed: int) -> tuple[str, Step]:
    """One step: what it is called, and what it does to a database."""
    number, limit = random.choice(PHOTOS), random.randint(1, 4)
    seconds = random.choice([0.0, 0.000_001, 1.0, 30.0])
    places = random.sample(range(claimed), min(claimed, random.randint(0, 3)))
    name = random.choices(list(VERBS), WEIGHTS)[0]
    commit, replay = random.random() < 0.9, random.random() < 0.3
    states = frozenset(random.sample(sorted(STATES), random.randint(0, len(STATES))))
    letter = random.choice(LETTERS)
    steps: dict[str, tuple[int, Step]] = {
        f"add {number}": (3, lambda twin: twin.add(number)),
        f"{name} {number}, {commit=}": (
            12,
            lambda twin: twin.change(number, VERBS[name], delay_seconds=seconds, commit=commit),
        ),
        f"due {sorted(states)}": (1, lambda twin: twin.due(states, limit)),
        f"claim {limit} for {seconds} s": (3, lambda twin: twin.claim(limit, seconds)),
        f"mark {places}": (2, lambda twin: twin.mark_published(places)),
        f"release {places}": (1, lambda twin: twin.release(places)),
        f"prune {seconds}": (1, lambda twin: twin.prune(seconds)),
        f"keep {letter}, {replay=}": (1, lambda twin: twin.keep(letter, replay=replay)),
    }
    weights = [weight for weight, _ in steps.values()]
    label = random.choices(list(steps), weights)[0]
    return label, steps[label][1]


@pytest.mark.parametrize("seed", [1, 2, 648_743, None])
@pytest.mark.parametrize(
    "names", [("memory", "embedded"), ("memory", "embedded", "production")], ids="-".join
)
async def test_the_databases_never_disagree(
    names: tuple[SetName, ...], seed: int | None, services: Services, tmp_path: Path
) -> None:
    seed = Random().randrange(1_000_000) if seed is None else seed
    random, clock = Random(seed), VirtualClock()
    async with databases_in_step(names, clock, services, tmp_path) as databases:
        twins = [Twin(database) for database in databases]
        for count in range(STEPS):
            label, step = draw(random, len(twins[0].claimed))
            here = f"seed {seed}, step {count}: {label}"
            agree(here, names, [await step(twin) for twin in twins])
            agree(here, names, [await twin.everything() for twin in twins])
            await clock.advance(random.choice([0.0, 0.000_001, 0.5, 20.0, 700.0]))
        await clock.advance(3600.0)
        agree(f"seed {seed}: the rest", names, [await t.claim(1000, 60.0) for t in twins])


def agree(where: str, names: Sequence[SetName], answers: Sequence[Any]) -> None:
    for name, answer in zip(names, answers, strict=True):
        assert answer == answers[0], f"{where}: {name} is not like {names[0]}"


async def _next_page(
    media: MediaRepository, states: frozenset[State], limit: int, first: Sequence[Due]
) -> Sequence[Due]:
    return await media.due(states, limit=limit, after=first[-1] if first else None)


def _without_id(row: OutboxRow) -> OutboxRow:
    """Ids must grow and be unique; a gap where something was undone is the database's business."""
    return replace(row, id=0)


def _without_zeros(backlog: Backlog) -> Backlog:
    """A state in which nothing waits may be listed or left out."""
    waiting: Mapping[State, Waiting] = backlog.media
    return replace(backlog, media={state: w for state, w in waiting.items() if w.count})
