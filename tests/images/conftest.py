"""The engines, one after the other: each test of pictures holds for all of them."""

from collections.abc import AsyncGenerator

import pytest

from adapters.pillow.engine import PillowEngine
from adapters.sandbox.engine import SandboxedEngine

ENGINES: dict[str, type[SandboxedEngine]] = {"pillow": PillowEngine}


@pytest.fixture(scope="session", params=sorted(ENGINES))
def engine_type(request: pytest.FixtureRequest) -> type[SandboxedEngine]:
    return ENGINES[request.param]


@pytest.fixture(scope="session")
async def engine(engine_type: type[SandboxedEngine]) -> AsyncGenerator[SandboxedEngine]:
    started = engine_type()
    await started.open()
    yield started
    await started.close()
