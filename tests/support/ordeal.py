"""Photos go through while things die: the load, the killer and the reckoning at the end.

The three know nothing of each other. What counts is what clients were promised: a photo whose
completion was answered with 2xx.
"""

import asyncio
import hashlib
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import aiohttp

from domain.errors import PipelineError
from domain.lifecycle import TERMINAL, State
from domain.media import object_prefix
from entrypoints.client import Document, PipelineClient, Refused
from tests.support.process import Server
from tests.support.systems import System
from tests.support.waiting import eventually

PATIENCE_SECONDS = 90.0
SWEPT_SECONDS = 60.0
Victim = Callable[[], Awaitable[bool]]


@dataclass
class Promise:
    """A photo that was accepted. `seconds` is from then to its end, None until that is seen."""

    media_id: str
    sha256: str
    seconds: float | None = None
    end: Document = field(default_factory=dict[str, Any])


@dataclass
class Load:
    """Clients that each send a photo, wait for its end, and send the next."""

    system: System
    photos: Sequence[bytes]
    clients: int = 4
    promises: list[Promise] = field(default_factory=list[Promise])

    async def run(self, enough: asyncio.Event) -> None:
        """Until `enough` is set; then each client still waits for its last photo."""
        async with asyncio.TaskGroup() as group:
            for number in range(self.clients):
                group.create_task(self._send_for_ever(number, enough))

    async def count(self) -> int:
        """How many photos were accepted by now."""
        return len(self.promises)

    async def _send_for_ever(self, number: int, enough: asyncio.Event) -> None:
        sent = number
        while not enough.is_set():
            await self._send(self.photos[sent % len(self.photos)])
            sent += self.clients

    async def _send(self, photo: bytes) -> None:
        client = self.system.client(patience_seconds=PATIENCE_SECONDS)
        ticket = await client.request_upload(content_type="image/jpeg", file_name="photo.jpg")
        await put_patiently(client, ticket, photo)
        await client.complete(ticket)
        promise = Promise(ticket["media_id"], hashlib.sha256(photo).hexdigest())
        self.promises.append(promise)
        clock = asyncio.get_running_loop().time
        began = clock()
        try:
            promise.end = await client.finished(promise.media_id, timeout_seconds=PATIENCE_SECONDS)
        except (TimeoutError, PipelineError):
            return  # the reckoning looks again
        promise.seconds = clock() - began


async def put_patiently(client: PipelineClient, ticket: Document, photo: bytes) -> None:
    """PUT until it is answered; a store that is away is asked again."""

    async def put() -> bool:
        try:
            await client.put(ticket, photo)
        except (aiohttp.ClientError, TimeoutError):
            return False
        except Refused as refused:
            if refused.status < 500:
                raise
            return False
        return True

    await eventually(put, seconds=PATIENCE_SECONDS)


# --- the killer ------------------------------------------------------------------------------


def victims_of(system: System, servers: Mapping[str, Server]) -> dict[str, Victim]:
    """Whom to kill, by name: each kind of process, a decoding child, each of `servers`.

    A victim answers whether there was anything to kill. Servers come back after their kill.
    """
    kinds = {process.role for process in system.processes.values()}
    victims: dict[str, Victim] = {kind: _one_of(system, kind) for kind in sorted(kinds)}
    victims["decoder"] = _a_decoder(system)
    return victims | {name: _server(server) for name, server in servers.items()}


@dataclass
class Killer:
    """Kills at moments, and in an order, that a seed decides; every kind of victim comes first
    once before any comes again.
    """

    victims: Mapping[str, Victim]
    seed: int
    pause_seconds: tuple[float, float] = (0.3, 1.2)
    kills: Counter[str] = field(default_factory=Counter[str])

    async def run(self, enough: Callable[[], bool]) -> None:
        chance = random.Random(self.seed)
        order: list[str] = []
        while not enough():
            if not order:
                order = sorted(self.victims)
                chance.shuffle(order)
            await asyncio.sleep(chance.uniform(*self.pause_seconds))
            name = order.pop()
            self.kills[name] += await self.victims[name]()

    @property
    def total(self) -> int:
        return self.kills.total()


def _one_of(system: System, role: str) -> Victim:
    async def kill() -> bool:
        return any(process.kill() for process in _in_turn(system, role))

    return kill


def _in_turn(system: System, role: str) -> list[Any]:
    """The one that was started least often first."""
    return sorted(system.of_role(role), key=lambda process: process.starts)


def _a_decoder(system: System) -> Victim:
    async def find() -> bool:
        return any(worker.kill_a_decoder() for worker in system.workers)

    async def kill() -> bool:
        try:
            return await eventually(find, seconds=5.0)
        except AssertionError:
            return False

    return kill


def _server(server: Server) -> Victim:
    async def kill() -> bool:
        await asyncio.to_thread(server.kill)
        await asyncio.to_thread(server.start)
        return True

    return kill


# --- the reckoning ---------------------------------------------------------------------------


@dataclass(kw_only=True)
class Report:
    """What became of the promises; the three lists name the photos of broken ones."""

    accepted: int = 0
    ready: int = 0
    failed: Counter[str] = field(default_factory=Counter[str])
    lost: list[str] = field(default_factory=list[str])
    twice: list[str] = field(default_factory=list[str])
    stuck: list[str] = field(default_factory=list[str])
    slowest_seconds: float = 0.0

    @property
    def is_clean(self) -> bool:
        return not (self.lost or self.twice or self.stuck)

    def __str__(self) -> str:
        failed = ", ".join(f"{code} {count}" for code, count in self.failed.items()) or "none"
        return (
            f"jobs {self.accepted}, ready {self.ready}, failed {failed}, lost {len(self.lost)}, "
            f"twice {len(self.twice)}, stuck {len(self.stuck)}, "
            f"slowest {self.slowest_seconds:.1f} s"
        )


async def reckon(system: System, promises: Sequence[Promise]) -> Report:
    """Hold what the product answers, and what its store holds, against every promise."""
    report = Report(accepted=len(promises))
    few = asyncio.Semaphore(4)

    async def judge(promise: Promise) -> None:
        async with few:
            await _judge(system, promise, report)

    await asyncio.gather(*(judge(promise) for promise in promises))
    report.slowest_seconds = max((promise.seconds or 0.0 for promise in promises), default=0.0)
    return report


async def _judge(system: System, promise: Promise, report: Report) -> None:
    client = system.client()
    try:
        document = await client.finished(promise.media_id, timeout_seconds=PATIENCE_SECONDS)
    except TimeoutError:
        report.stuck.append(promise.media_id)
        return
    except Refused as refused:
        report.lost.append(f"{promise.media_id} {refused}")
        return
    if document["status"] == State.READY:
        report.ready += 1
        await _judge_ready(system, promise, document, report)
    elif document["status"] == State.FAILED and document["failure"]["code"]:
        report.failed[document["failure"]["code"]] += 1
    else:
        report.lost.append(f"{promise.media_id} ended {document['status']}")
    if promise.end and essence(promise.end) != essence(document):
        report.twice.append(f"{promise.media_id} changed after its end")


async def _judge_ready(
    system: System, promise: Promise, document: Document, report: Report
) -> None:
    """It is this photo's, its variants are whole, and those of other attempts are gone."""
    outcomes = [attempt["outcome"] for attempt in document["attempts"]]
    if outcomes.count("succeeded") != 1:
        report.twice.append(f"{promise.media_id} has attempts {outcomes}")
    if document["original"]["sha256"] != promise.sha256:
        report.lost.append(f"{promise.media_id} shows another photo")
    for variant in document["variants"]:
        async with system.session.get(variant["url"]) as answer:
            body = await answer.read()
        if hashlib.sha256(body).hexdigest() != variant["sha256"]:
            report.lost.append(f"{promise.media_id} has no {variant['name']}: {answer.status}")
    count = len(document["variants"]) + 1

    async def keys() -> Sequence[str]:
        return await system.inside.store.list_keys(object_prefix(promise.media_id))

    try:
        await eventually(keys, until=lambda found: len(found) == count, seconds=SWEPT_SECONDS)
    except AssertionError:
        report.twice.append(f"{promise.media_id} has objects {await keys()}")


def essence(document: Document) -> Document:
    """A document without what differs from one reading to the next: links, and when they end."""
    assert State(document["status"]) in TERMINAL
    variants = [{**variant, "url": None} for variant in document["variants"]]
    changing = {"variants": variants, "final_url": None, "final_url_expires_at": None}
    return {**document, **changing, "updated_at": None}
