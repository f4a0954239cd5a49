"""An upload is accepted while the broker takes nothing; a crash sends its message twice.

.venv/bin/python -m tests.exercises.outbox
"""

import asyncio
import tempfile
from pathlib import Path

from application.messages import encode
from domain.errors import UnroutableMessage
from tests.support.pipeline import Pipeline


async def accept_without_a_broker(pipeline: Pipeline) -> None:
    pipeline.broker.remove_queues()
    media = await pipeline.accepted()
    print(f"complete-upload: {media.state}; messages in the queue: {len(pipeline.sent())}")
    try:
        await pipeline.relay_outbox()
    except UnroutableMessage as error:
        print(f"the relay: {error}")
    pipeline.broker.routable = True
    # A relay that publishes and dies before it marks the row.
    [row] = await pipeline.database.relay.claim(limit=1, hold_seconds=30)
    body, headers = encode(row.request)
    await pipeline.broker.publish(str(row.id), body, headers)
    print(f"published, and the relay dies; messages in the queue: {len(pipeline.sent())}")
    pipeline.clock.advance(31)
    await pipeline.relay_outbox()
    print(f"the next relay publishes it again; messages in the queue: {len(pipeline.sent())}")
    for delivery in ("first", "second"):
        print(f"the {delivery} delivery is processed: {await pipeline.process(media)}")


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(accept_without_a_broker(Pipeline(root=Path(folder))))


if __name__ == "__main__":
    main()
