"""Questions to a running system that its clients cannot ask."""

import asyncio
import urllib.request

from prometheus_client.parser import text_string_to_metric_families

from adapters.opentelemetry.instruments import Instrument
from application.values import DeadLetter
from domain.lifecycle import TERMINAL, State
from domain.media import Media
from domain.record import object_prefix
from tests.support.product import ProductProcess
from tests.support.systems import System
from tests.support.waiting import eventually


async def measured(process: ProductProcess, instrument: Instrument, **labels: str) -> float:
    """The sum of a counter over all series with these labels, from the process's own page."""
    url = f"http://127.0.0.1:{process.port}/metrics"
    page = await asyncio.to_thread(_read, url)
    return sum(
        sample.value
        for family in text_string_to_metric_families(page)
        for sample in family.samples
        if sample.name == instrument.prometheus_name and labels.items() <= sample.labels.items()
    )


async def stored(system: System, media_id: str) -> Media:
    async with system.inside.database.begin() as uow:
        media = await uow.media.get(media_id)
    assert media is not None
    return media


async def dead_letters(system: System) -> list[DeadLetter]:
    async with system.inside.database.begin() as uow:
        return list(await uow.dead_letters.list(limit=1000))


async def keys_of(system: System, media_id: str) -> list[str]:
    return list(await system.inside.store.list_keys(object_prefix(media_id)))


async def only_the_winner_is_left(system: System, media_id: str, *, seconds: float = 30.0) -> None:
    """Wait until the store holds the original and one attempt's variants, and nothing else."""
    media = await stored(system, media_id)
    expected = sorted([media.original_key, *(variant.key for variant in media.variants)])
    tokens = {variant.key.removeprefix(object_prefix(media_id))[0] for variant in media.variants}
    assert len(tokens) == (1 if media.state is State.READY else 0)
    await eventually(
        lambda: keys_of(system, media_id), until=lambda keys: keys == expected, seconds=seconds
    )


async def nothing_waits(system: System, *, seconds: float = 60.0) -> None:
    """Wait until no accepted photo and no message is under way."""
    await no_photo_waits(system, seconds=seconds)

    async def messages() -> int:
        return (await system.inside.overview.backlog()).outbox.count

    await eventually(messages, until=lambda count: count == 0, seconds=seconds)


async def no_photo_waits(system: System, *, seconds: float = 60.0) -> None:
    """Wait until every photo that was accepted is at rest."""

    async def unfinished() -> dict[State, int]:
        waiting = (await system.inside.overview.backlog()).media
        at_rest = {State.PENDING_UPLOAD, *TERMINAL}
        return {state: queue.count for state, queue in waiting.items() if state not in at_rest}

    await eventually(unfinished, until=lambda counts: not any(counts.values()), seconds=seconds)


def _read(url: str) -> str:
    with urllib.request.urlopen(url, timeout=5.0) as answer:
        return answer.read().decode()
