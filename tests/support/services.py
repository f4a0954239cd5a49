"""Each server once per test run: started on first use, several at a time, all ended at the end.

Where `TEST_DATABASE_URL`, `TEST_RABBITMQ_URL` or `TEST_MINIO_ENDPOINT` (with
`TEST_MINIO_ACCESS_KEY` and `TEST_MINIO_SECRET_KEY`) is set, that running server is used instead;
the tests delete what they find in its queues.
A server that cannot be had skips the test with one line that says how to get it; with
`REQUIRE_SERVICES=1` it fails the test.
"""

import os
import sys
from collections.abc import Generator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NoReturn, TypeVar, cast

import pytest

from tests.support.process import Server
from tests.support.servers import ACCESS_KEY, SECRET_KEY, KnownServer, Minio, Postgres, RabbitMq

S = TypeVar("S", bound=KnownServer)


@dataclass(frozen=True)
class MinioAccess:
    """What an S3 client needs. The credentials may do everything."""

    endpoint: str
    access_key: str
    secret_key: str


class Services:
    """The servers of this run. Not for use from several threads."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(thread_name_prefix="services")
        self._servers: dict[type[KnownServer], Future[KnownServer]] = {}
        self._created: list[Server] = []

    def begin(self, kind: type[KnownServer]) -> None:
        """Start the server in the background, if its program is here and it is not running."""
        if kind not in self._servers and kind.find() is not None:
            self._servers[kind] = self._threads.submit(self._start, kind)

    def get(self, kind: type[S]) -> S:
        """The running server; skips or fails the test if its program is not here."""
        self.begin(kind)
        if kind not in self._servers:
            unavailable(f"the program of {kind.name} is not here: {kind.how_to_get}")
        return cast("S", self._servers[kind].result())

    def postgres_url(self) -> str:
        return os.environ.get("TEST_DATABASE_URL") or self.get(Postgres).url

    def rabbitmq_url(self) -> str:
        return os.environ.get("TEST_RABBITMQ_URL") or self.get(RabbitMq).url

    def minio(self) -> MinioAccess:
        endpoint = os.environ.get("TEST_MINIO_ENDPOINT")
        if endpoint is None:
            return MinioAccess(self.get(Minio).endpoint, ACCESS_KEY, SECRET_KEY)
        keys = (os.environ[f"TEST_MINIO_{name}"] for name in ("ACCESS_KEY", "SECRET_KEY"))
        return MinioAccess(endpoint, *keys)

    def close(self) -> None:
        """End every server, those that are still starting included."""
        for server in tuple(self._created):
            server.close()
        self._threads.shutdown()
        for server in self._created:
            server.close()

    def _start(self, kind: type[KnownServer]) -> KnownServer:
        server = kind()
        self._created.append(server)
        server.start()
        return server


def required() -> bool:
    """Whether this run must have every server and skip nothing."""
    return os.environ.get("REQUIRE_SERVICES") == "1"


def unavailable(reason: str) -> NoReturn:
    """Skip this test, or fail it where everything is required; `reason` says how to get it."""
    if required():
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)


def background(items: list[pytest.Item]) -> set[type[KnownServer]]:
    """The servers that the production set will need, to be started while other tests run."""
    kinds: dict[str, type[KnownServer]] = {
        "TEST_DATABASE_URL": Postgres,
        "TEST_RABBITMQ_URL": RabbitMq,
        "TEST_MINIO_ENDPOINT": Minio,
    }
    if any("production" in item.nodeid for item in items):
        return {kind for name, kind in kinds.items() if name not in os.environ}
    return set()


@contextmanager
def services_of_a_program() -> Generator[Services]:
    """The servers of a program that is no test; it ends with a sentence where one is missing."""
    services = Services()
    try:
        yield services
    except pytest.skip.Exception as missing:
        sys.exit(str(missing))
    finally:
        services.close()
