"""One server is away for a while: what clients are told meanwhile, and how it heals."""

import asyncio
import json
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from entrypoints.client import Document
from tests.support.lookout import Testimony, looking_out
from tests.support.ordeal import put_patiently
from tests.support.systems import Servers, System
from tests.support.toxiproxy import Link

PROBE_PAUSE_SECONDS = 0.3
HEAL_SECONDS = 120.0


@dataclass(frozen=True)
class Links:
    """A proxied way to each server of the production set."""

    database: Link
    broker: Link
    store: Link

    def lead(self, servers: Servers) -> Servers:
        minio = servers.minio
        return Servers(
            self.database.lead(servers.database_url),
            self.broker.lead(servers.rabbitmq_url),
            type(minio)(self.store.lead(minio.endpoint), minio.access_key, minio.secret_key),
            servers.bucket,
        )


@dataclass(frozen=True)
class Probe:
    """One call during the outage."""

    call: str
    status: int
    retry_after: str | None
    seconds: float


@dataclass
class Outage:
    """What was seen. `healed_seconds` is from the end of the outage to the last photo's end."""

    probes: list[Probe] = field(default_factory=list[Probe])
    photos: list[Document] = field(default_factory=list[Document])
    healed_seconds: float = 0.0
    complaints: dict[str, int] = field(default_factory=dict[str, int])
    pages: dict[str, Testimony] = field(default_factory=dict[str, Testimony])

    def statuses(self, call: str) -> Counter[int]:
        return Counter(probe.status for probe in self.probes if probe.call == call)

    @property
    def slowest_seconds(self) -> float:
        return max(probe.seconds for probe in self.probes)

    def median_seconds(self, status: int) -> float:
        """Of the answers with this status; 0 if there are none."""
        return median([probe.seconds for probe in self.probes if probe.status == status] or [0.0])

    def __str__(self) -> str:
        calls = sorted({probe.call for probe in self.probes})
        answers = "; ".join(f"{call} {dict(self.statuses(call))}" for call in calls)
        return (
            f"{answers}; slowest answer {self.slowest_seconds:.1f} s, "
            f"median of 503 {self.median_seconds(503):.3f} s; {len(self.photos)} photos, "
            f"healed after {self.healed_seconds:.1f} s; warnings {self.complaints}; "
            f"gauges {self._gauges()}; probes "
            f"{1000 * max(said.probe_seconds for said in self.pages.values()):.0f} ms"
        )

    def _gauges(self) -> str:
        said = [(name, *one) for name, said in self.pages.items() for one in said.noticed.items()]
        return ", ".join(f"{name} {server} {seconds:.1f} s" for name, server, seconds in said)


async def suffer(
    system: System,
    link: Link,
    fault: Callable[[], None],
    *,
    seconds: float,
    photos: Iterable[bytes],
) -> Outage:
    """`fault` on `link` lasts `seconds`; photos are under way before, and are sent meanwhile.

    The object store takes their bytes all the time: clients have a way of their own to it.
    """
    outage, (first, *rest) = Outage(), list(photos)
    client = system.client()
    waiting = await _tickets(system, rest[: len(rest) // 2])
    promised = await _tickets(system, rest[len(rest) // 2 :])
    for ticket in promised:
        await client.complete(ticket)
    await system.whole()
    before = {name: _complaints(system, name) for name in system.processes}
    clock = asyncio.get_running_loop().time
    end = clock() + seconds
    async with AsyncExitStack() as stack:
        stack.callback(link.mend)
        await asyncio.to_thread(fault)
        outage.pages = await stack.enter_async_context(looking_out(system))
        while clock() < end:
            promised += await _try_all_calls(system, outage, first, waiting, promised[0])
            await asyncio.sleep(PROBE_PAUSE_SECONDS)
    mended = clock()
    outage.photos = await asyncio.gather(*(_end_of(system, ticket) for ticket in promised))
    outage.healed_seconds = clock() - mended
    await asyncio.gather(*(client.complete(ticket) for ticket in waiting))
    outage.photos += await asyncio.gather(*(_end_of(system, ticket) for ticket in waiting))
    outage.complaints = {name: _complaints(system, name) - count for name, count in before.items()}
    return outage


async def _tickets(system: System, photos: Iterable[bytes]) -> list[Document]:
    """Photos that are in the store, each waiting for its completion."""
    client, tickets = system.client(), list[Document]()
    for photo in photos:
        ticket = await client.request_upload(content_type="image/jpeg", file_name="photo.jpg")
        await put_patiently(client, ticket, photo)
        tickets.append(ticket)
    return tickets


async def _end_of(system: System, ticket: Document) -> Document:
    return await system.client().finished(ticket["media_id"], timeout_seconds=HEAL_SECONDS)


async def _try_all_calls(
    system: System, outage: Outage, photo: bytes, waiting: list[Document], known: Document
) -> list[Document]:
    """Each public call once; answers the tickets that were accepted, in this moment of all."""
    body = {"content_type": "image/jpeg", "file_name": "meanwhile.jpg"}
    ticket = await _probe(system, outage, "POST", "/upload-url", body)
    if ticket is not None:
        await put_patiently(system.client(), ticket, photo)
    elif waiting:
        ticket = waiting[-1]
    accepted = list[Document]()
    if ticket is not None:
        completion = {name: ticket[name] for name in ("media_id", "original_key")}
        if await _probe(system, outage, "POST", "/complete-upload", completion):
            accepted.append(ticket)
            waiting[:] = [other for other in waiting if other is not ticket]
        elif ticket not in waiting:
            waiting.append(ticket)
    await _probe(system, outage, "GET", f"/media/{known['media_id']}", None)
    return accepted


async def _probe(
    system: System, outage: Outage, method: str, path: str, body: dict[str, Any] | None
) -> Document | None:
    """The answer, if it is a good one."""
    clock = asyncio.get_running_loop().time
    began = clock()
    async with system.session.request(method, system.url + path, json=body) as answer:
        document: Document = await answer.json(content_type=None)
    call = "/".join(path.split("/")[:2])
    retry_after = answer.headers.get("Retry-After")
    outage.probes.append(Probe(call, answer.status, retry_after, clock() - began))
    return document if answer.status < 400 else None


def _complaints(system: System, name: str) -> int:
    """How many lines of this process are more than information."""
    lines = system.processes[name].output().splitlines()
    return sum(not line.startswith("{") or json.loads(line)["level"] != "info" for line in lines)
