"""RabbitMQ: quorum queues, confirmed publishing, and consumers that outlive their connections."""

from adapters.rabbitmq.broker import RabbitBroker
from adapters.rabbitmq.connection import Timing
from adapters.rabbitmq.topology import declare_topology

__all__ = ["RabbitBroker", "Timing", "declare_topology"]
