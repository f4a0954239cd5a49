"""Probes and metrics: quick and honest, also while a server hangs."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest

from application.ports import Dependency
from domain.errors import DatabaseUnavailable
from entrypoints.api.operations import create_operations_app
from entrypoints.api.readiness import BROKEN, SILENT, UNAVAILABLE, UNKNOWN, NotReady, Readiness
from tests.api.client import Api, assert_problem
from tests.api.conformity import Reply
from tests.api.conftest import METRICS
from tests.api.serving import serving
from tests.support.waiting import eventually

pytestmark = pytest.mark.anyio

PROBE_SECONDS = 0.05


class Server(Dependency):
    """Does what the test says."""

    def __init__(self, name: str = "database") -> None:
        self.error: Exception | None = None
        self.hangs = False
        self.stubborn = False
        self.checks = 0
        self._name = name

    @property
    def name(self) -> str:
        return self._name

    async def check(self) -> None:
        self.checks += 1
        while self.hangs:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                if not self.stubborn:
                    raise
        if self.error is not None:
            raise self.error


@asynccontextmanager
async def watched(*servers: Server) -> AsyncGenerator[Readiness]:
    async with Readiness(servers, interval_seconds=0.01, timeout_seconds=0.05) as readiness:
        yield readiness


async def problems(readiness: Readiness, *expected: tuple[str, str]) -> None:
    async def ask() -> list[NotReady]:
        return readiness.problems

    await eventually(ask, until=lambda found: found == [NotReady(*one) for one in expected])


async def test_nothing_is_ready_before_it_was_checked() -> None:
    assert Readiness([Server()]).problems == [NotReady("database", UNKNOWN)]


async def test_a_server_that_comes_and_goes_is_noticed() -> None:
    server = Server()
    async with watched(server) as readiness:
        await problems(readiness)
        server.error = DatabaseUnavailable("away")
        await problems(readiness, ("database", UNAVAILABLE))
        server.error = RuntimeError("no idea")
        await problems(readiness, ("database", BROKEN))
        server.error = None
        await problems(readiness)


async def test_a_server_that_hangs_is_not_ready_and_hides_no_other() -> None:
    slow, other = Server("database"), Server("store")
    async with watched(slow, other) as readiness:
        await problems(readiness)
        slow.hangs = True
        await problems(readiness, ("database", SILENT))
        other.error = RuntimeError("broken too")
        await problems(readiness, ("database", SILENT), ("store", BROKEN))
        slow.hangs = False
        await problems(readiness, ("store", BROKEN))


async def test_a_check_that_cannot_be_cancelled_is_not_begun_again() -> None:
    server = Server()
    server.hangs = server.stubborn = True
    async with watched(server) as readiness:
        await problems(readiness, ("database", SILENT))
        assert server.checks == 1
        server.stubborn = False


async def test_each_change_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    server = Server()
    server.error = DatabaseUnavailable("away")
    async with watched(server) as readiness:

        async def checks() -> int:
            return server.checks

        await eventually(checks, until=lambda count: count > 3)
        server.error = None
        await problems(readiness)
    messages = [record.getMessage() for record in caplog.records]
    assert messages.count("dependency_not_ready") == 1


# --- over HTTP -------------------------------------------------------------------------------


async def fetch(url: str, path: str, method: str = "GET") -> Reply:
    async with aiohttp.ClientSession() as session, session.request(method, url + path) as answer:
        return Reply(method, path, answer.status, answer.headers, await answer.read())


async def is_status(url: str, path: str, status: int) -> Reply:
    async def ask() -> Reply:
        return await fetch(url, path)

    return await eventually(ask, until=lambda reply: reply.status == status)


def operations(*servers: Server, **changes: Any) -> Callable[[str], Any]:
    settings: dict[str, Any] = {
        "dependencies": servers,
        "metrics": lambda: (METRICS, "text/plain; version=0.0.4; charset=utf-8"),
    }

    def make(url: str) -> Any:
        del url
        return create_operations_app(**{**settings, **changes})

    return make


async def test_a_probe_is_answered_at_once_while_a_server_hangs() -> None:
    server = Server()
    server.hangs = True
    async with serving(operations(server)) as url, aiohttp.ClientSession() as session:
        await is_status(url, "/health/ready", 503)
        loop = asyncio.get_running_loop()
        took: list[float] = []
        for path in ("/health/live", "/health/ready") * 5:
            began = loop.time()
            async with session.get(url + path) as answer:
                assert answer.status == (200 if path.endswith("live") else 503)
            took.append(loop.time() - began)
    # The best of several: the machine is shared, a wait for the server would show in all.
    assert min(took[0::2]) < PROBE_SECONDS
    assert min(took[1::2]) < PROBE_SECONDS


async def test_what_is_not_ready_is_listed_without_its_secrets() -> None:
    server = Server()
    server.error = DatabaseUnavailable("postgres://user:password@host does not answer")
    async with serving(operations(server, Server("broker"))) as url:

        async def ask() -> Any:
            return (await fetch(url, "/health/ready")).json()

        await eventually(
            ask, until=lambda found: found == [{"name": "database", "reason": UNAVAILABLE}]
        )
        assert (await fetch(url, "/health/live")).status == 200


async def test_notes_are_shown_and_do_not_make_the_process_unready() -> None:
    async with serving(operations(Server(), notes=["No sandbox here."])) as url:
        reply = await is_status(url, "/health/ready", 200)

    assert reply.json() == {"status": "ready", "notes": ["No sandbox here."]}


async def test_metrics_are_shown_as_they_are() -> None:
    async with serving(operations()) as url:
        reply = await fetch(url, "/metrics")

    assert reply.body == METRICS
    assert reply.headers["Content-Type"].startswith("text/plain; version=0.0.4")


async def test_errors_of_the_operations_port_are_problems() -> None:
    def broken() -> tuple[bytes, str]:
        raise RuntimeError("/var/secret.py")

    async with serving(operations(metrics=broken)) as url:
        assert_problem(await fetch(url, "/nothing"), 404, "not-found")
        assert_problem(await fetch(url, "/metrics", "POST"), 405, "method-not-allowed")
        problem = assert_problem(await fetch(url, "/metrics"), 500, "internal-error")

    assert problem["trace_id"] is None


async def test_the_api_shows_the_same_pages(api: Api) -> None:
    assert (await api.get("/metrics")).body == METRICS
    assert (await api.get("/health/live")).json() == {"status": "live"}
    reply = await is_status(api.url, "/health/ready", 200)
    api.contract.assert_conforms(reply)


async def test_the_api_is_not_ready_without_its_database(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    await is_status(api.url, "/health/ready", 200)

    async def check() -> None:
        raise DatabaseUnavailable("away")

    monkeypatch.setattr(api.databases.dependency, "check", check)

    reply = await is_status(api.url, "/health/ready", 503)
    api.contract.assert_conforms(reply)
    assert [one["name"] for one in reply.json()] == [api.databases.dependency.name]
    assert (await api.get("/health/live")).status == 200
