"""Running systems for the tests of a module."""

from collections.abc import AsyncGenerator

import pytest

from tests.support.services import Services
from tests.support.systems import SYSTEM_NAMES, System, running


@pytest.fixture(scope="module", params=SYSTEM_NAMES)
async def system(
    request: pytest.FixtureRequest, services: Services, tmp_path_factory: pytest.TempPathFactory
) -> AsyncGenerator[System]:
    """The product, one worker, for all tests of a module that leave it whole."""
    folder = tmp_path_factory.mktemp(f"system-{request.param}")
    async with running(request.param, services, folder) as opened:
        yield opened
