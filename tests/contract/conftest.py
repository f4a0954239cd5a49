"""The parts of each set; a test that asks for one runs once for each set."""

from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from tests.support.services import Services
from tests.support.sets import (
    SET_NAMES,
    BrokerPorts,
    DatabasePorts,
    PipelineSet,
    Sets,
    StorePorts,
)


@pytest.fixture
def sets(services: Services, tmp_path: Path) -> Sets:
    """Opens single parts, for tests that need more than one at a time."""
    return Sets(services, tmp_path)


@pytest.fixture(params=SET_NAMES)
async def pipeline_set(request: pytest.FixtureRequest, sets: Sets) -> AsyncGenerator[PipelineSet]:
    """Every port of a set."""
    async with sets.open(request.param) as pipeline_set:
        yield pipeline_set


@pytest.fixture(params=SET_NAMES)
async def database_ports(
    request: pytest.FixtureRequest, sets: Sets
) -> AsyncGenerator[DatabasePorts]:
    async with sets.database(request.param) as ports:
        yield ports


@pytest.fixture(params=SET_NAMES)
async def broker_ports(request: pytest.FixtureRequest, sets: Sets) -> AsyncGenerator[BrokerPorts]:
    async with sets.broker(request.param) as ports:
        yield ports


@pytest.fixture(params=SET_NAMES)
async def store_ports(request: pytest.FixtureRequest, sets: Sets) -> AsyncGenerator[StorePorts]:
    async with sets.store(request.param) as ports:
        yield ports
