"""Prepare the servers of the production set; safe to repeat, and to run several times at once."""

from adapters.events import get_logger
from adapters.postgres.migrations import migrate
from adapters.rabbitmq import declare_topology
from entrypoints.bootstrap import make_store
from entrypoints.settings import Settings

log = get_logger(__name__)


async def run_migrate(settings: Settings) -> None:
    """Schema, queue topology, bucket. Raises InvalidConfiguration or Unavailable."""
    steps = await migrate(settings.database_url)
    log.info("schema_migrated", steps=list(steps))
    await declare_topology(settings.rabbitmq_url)
    log.info("topology_declared")
    store = make_store(settings)
    await store.open()
    try:
        await store.create_bucket()
    finally:
        await store.close()
    log.info("bucket_ready", bucket=settings.minio_bucket)
