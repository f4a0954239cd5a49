"""The engines, one after the other: each test of pictures holds for all of them."""

from collections.abc import AsyncGenerator

import pytest

from adapters.pillow.engine import PillowEngine
from adapters.sandbox.engine import SandboxedEngine
from adapters.sandbox.limits import EngineLimits
from adapters.vips.engine import VipsEngine
from tests.images.rendering import MakeEngine

ENGINES: dict[str, MakeEngine] = {"pillow": PillowEngine, "vips": VipsEngine}


@pytest.fixture(scope="session", params=sorted(ENGINES))
def make_engine(request: pytest.FixtureRequest) -> MakeEngine:
    """For tests with limits of their own."""
    return ENGINES[request.param]


@pytest.fixture(scope="session")
async def engine(make_engine: MakeEngine) -> AsyncGenerator[SandboxedEngine]:
    started = make_engine(EngineLimits())
    await started.open()
    yield started
    await started.close()
