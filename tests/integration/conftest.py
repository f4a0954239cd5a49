"""What tests of one technology share."""

from collections.abc import AsyncGenerator

import pytest

from adapters.rabbitmq import RabbitBroker
from tests.support.rabbitmq import fresh_topology, leakproof_broker


@pytest.fixture
async def broker(rabbitmq_url: str) -> AsyncGenerator[RabbitBroker]:
    """A broker that nothing disturbs, on empty queues."""
    await fresh_topology(rabbitmq_url)
    async with leakproof_broker(rabbitmq_url) as broker:
        yield broker
