"""Servers and adapter sets for all tests, and the rule that a required run skips nothing."""

import os
import signal
import types
from collections.abc import Generator
from pathlib import Path

import pytest

from tests.support import services as support
from tests.support.servers import Jaeger, Minio, Postgres, RabbitMq, Toxiproxy
from tests.support.services import MinioAccess, Services

SERVICES = pytest.StashKey[Services]()


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


# --- servers ---------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def services(request: pytest.FixtureRequest) -> Services:
    return request.config.stash[SERVICES]


@pytest.fixture(scope="session")
def postgres_url(services: Services) -> str:
    """A PostgreSQL where databases may be created."""
    return services.postgres_url()


@pytest.fixture(scope="session")
def rabbitmq_url(services: Services) -> str:
    return services.rabbitmq_url()


@pytest.fixture(scope="session")
def minio(services: Services) -> MinioAccess:
    """An S3 store where buckets may be created."""
    return services.minio()


@pytest.fixture(scope="session")
def postgres_server(services: Services) -> Postgres:
    """A PostgreSQL of our own, to make outages with."""
    return services.get(Postgres)


@pytest.fixture(scope="session")
def rabbitmq_server(services: Services) -> RabbitMq:
    """A RabbitMQ of our own, to make outages with."""
    return services.get(RabbitMq)


@pytest.fixture(scope="session")
def minio_server(services: Services) -> Minio:
    """A MinIO of our own, to make outages with."""
    return services.get(Minio)


@pytest.fixture(scope="session")
def jaeger(services: Services) -> Jaeger:
    return services.get(Jaeger)


@pytest.fixture(scope="session")
def toxiproxy(services: Services) -> Toxiproxy:
    return services.get(Toxiproxy)


@pytest.fixture(scope="session")
def corpus() -> Path:
    """A folder of good and bad pictures, from IMAGE_CORPUS."""
    folder = os.environ.get("IMAGE_CORPUS")
    if folder is None:
        pytest.skip("IMAGE_CORPUS is not set: point it at a folder of pictures")
    return Path(folder)


# --- the run ---------------------------------------------------------------------------------


def pytest_configure(config: pytest.Config) -> None:
    config.stash[SERVICES] = Services()

    def interrupt(number: int, frame: types.FrameType | None) -> None:
        del number, frame
        raise KeyboardInterrupt

    # A plain SIGTERM would end the tests without ending the servers.
    signal.signal(signal.SIGTERM, interrupt)


def pytest_unconfigure(config: pytest.Config) -> None:
    config.stash[SERVICES].close()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """In a required run, tests of a corpus that nobody has are not chosen at all."""
    if support.required() and "IMAGE_CORPUS" not in os.environ:
        without = [item for item in items if "corpus" in getattr(item, "fixturenames", ())]
        config.hook.pytest_deselected(items=without)
        items[:] = [item for item in items if item not in without]


def pytest_itemcollected(item: pytest.Item) -> None:
    """Say which tests stay together where two processes share them (`make test`).

    Those of real processes do: they wait most of the time, and two of them at once would wait for
    each other's processor. Of the rest, those of a file do: they share fixtures.
    """
    group = "processes" if item.path.parent.name == "e2e" else str(item.path)
    item.add_marker(pytest.mark.xdist_group(group))


def pytest_collection_finish(session: pytest.Session) -> None:
    if session.config.option.collectonly:
        return
    for kind in support.background(session.items):
        session.config.stash[SERVICES].begin(kind)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """In a required run a skipped test is a failed one."""
    report = yield
    if support.required() and report.skipped and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"skipped although REQUIRE_SERVICES=1: {report.longrepr}"
    return report
