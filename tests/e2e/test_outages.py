"""A server goes away under load and comes back; nobody touches anything, and nothing is lost.

Six seconds each; `make soak` takes thirty. Half-open means that connections stay open, new ones
are accepted, and no byte comes through.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Generator

import pytest

from tests.e2e.asking import dead_letters, no_photo_waits
from tests.e2e.photos import draw
from tests.support.outages import Links, Outage, suffer
from tests.support.servers import Toxiproxy
from tests.support.services import Services
from tests.support.systems import System, running
from tests.support.toxiproxy import Link, link_to

pytestmark = pytest.mark.anyio

OUTAGE_SECONDS = 6.0
ANSWER_SECONDS = 3.0  # the longest that a client may have to wait, when it finds the outage out
REFUSAL_SECONDS = 0.2  # the median of all who are told 503
HEAL_SECONDS = 2 * OUTAGE_SECONDS
STOP_SECONDS = 22.0  # the grace time that is the default, and two seconds
COMPLAINTS_MAX = 40  # of one process, in one outage
NOTICE_SECONDS = 4.5  # a check each 2 s, 1 s for its answer, and a busy machine
PROBE_SECONDS = 0.05
PHOTOS = [draw(number, width=320, height=240) for number in range(300, 307)]

faults = pytest.mark.parametrize("fault", [Link.cut, Link.swallow], ids=["down", "half-open"])


@pytest.fixture(scope="module")
def links(services: Services, toxiproxy: Toxiproxy) -> Generator[Links]:
    urls = services.postgres_url(), services.rabbitmq_url(), services.minio().endpoint
    links = Links(*(link_to(toxiproxy, url) for url in urls))
    yield links
    for link in (links.database, links.broker, links.store):
        link.close()


@pytest.fixture(scope="module")
async def system(
    services: Services, links: Links, tmp_path_factory: pytest.TempPathFactory
) -> AsyncGenerator[System]:
    folder = tmp_path_factory.mktemp("outages-production")
    async with running("production", services, folder, workers=2, through=links.lead) as opened:
        yield opened


async def outage(system: System, link: Link, fault: Callable[[Link], None], server: str) -> Outage:
    """What holds for every server: each photo ends READY, by itself, the logs stay short, and
    whoever needs the server says that it is away, by metrics and probes that never wait for it.
    """
    pids = [process.pid for process in system.processes.values()]
    seen = await suffer(system, link, lambda: fault(link), seconds=OUTAGE_SECONDS, photos=PHOTOS)
    print(seen)
    assert {document["status"] for document in seen.photos} == {"READY"}, seen.photos
    assert seen.slowest_seconds < ANSWER_SECONDS
    assert seen.median_seconds(503) < REFUSAL_SECONDS
    assert seen.healed_seconds < HEAL_SECONDS
    assert max(seen.complaints.values()) <= COMPLAINTS_MAX, seen.complaints
    assert pids == [process.pid for process in system.processes.values() if process.running]
    assert all(probe.retry_after for probe in seen.probes if probe.status == 503)
    needed_by = set(system.processes) - ({"api"} if server == "rabbitmq" else set())
    assert {name for name, said in seen.pages.items() if server in said.noticed} == needed_by
    for said in seen.pages.values():
        assert said.noticed.get(server, 0.0) < NOTICE_SECONDS
        assert said.probe_seconds < PROBE_SECONDS
        assert said.statuses["/health/live", 503] == 0
        assert (said.statuses["/health/ready", 503] > 0) == (server in said.noticed)
    await no_photo_waits(system)
    assert await dead_letters(system) == []
    for process in system.processes.values():
        assert not [secret for secret in system.secrets if secret in process.output()]
    return seen


def nobody_paid(seen: Outage) -> bool:
    """No attempt was charged."""
    return {document["attempt"] for document in seen.photos} == {1}


@faults
async def test_without_the_broker_photos_are_accepted_and_ready_afterwards(
    system: System, links: Links, fault: Callable[[Link], None]
) -> None:
    seen = await outage(system, links.broker, fault, "rabbitmq")
    assert nobody_paid(seen)
    assert set(seen.statuses("/upload-url")) == {201}
    assert set(seen.statuses("/complete-upload")) == {202}
    assert set(seen.statuses("/media")) == {200}


@faults
async def test_without_the_database_clients_are_told_to_come_back(
    system: System, links: Links, fault: Callable[[Link], None]
) -> None:
    seen = await outage(system, links.database, fault, "postgres")
    assert nobody_paid(seen)
    for call in ("/upload-url", "/complete-upload", "/media"):
        assert set(seen.statuses(call)) == {503}


@faults
async def test_without_the_store_completion_is_refused_and_no_attempt_is_charged(
    system: System, links: Links, fault: Callable[[Link], None]
) -> None:
    seen = await outage(system, links.store, fault, "minio")
    assert nobody_paid(seen)
    assert set(seen.statuses("/upload-url")) == {201}
    assert set(seen.statuses("/complete-upload")) == {503}
    assert set(seen.statuses("/media")) == {200}


async def test_processes_that_are_told_to_stop_while_every_server_is_silent_do_so(
    system: System, links: Links
) -> None:
    everything = (links.database, links.broker, links.store)
    clock = asyncio.get_running_loop().time
    try:
        for link in everything:
            link.swallow()
        began = clock()
        codes = await asyncio.gather(*(p.stop() for p in system.processes.values()))
        seconds = clock() - began
        assert set(codes) == {0}, [p.output()[-2000:] for p in system.processes.values()]
        assert seconds < STOP_SECONDS
    finally:
        for link in everything:
            link.mend()
