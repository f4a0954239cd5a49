"""A consumer goes away without an ack; the message comes again, and says so.

.venv/bin/python -m tests.exercises.redelivery
"""

import asyncio
import tempfile
from pathlib import Path

from adapters.sqlite import SqliteBroker
from application.ports import Queue


async def redeliver(folder: Path) -> None:
    broker = await SqliteBroker.open(folder / "queue.db")
    await broker.publish("m-1", b"work", {})
    for settle in (False, True):
        consumer = await broker.consume(Queue.PROCESS, prefetch=1)
        delivery = await consumer.receive()
        print(f"received {delivery.message_id}, redelivered: {delivery.redelivered}")
        if settle:
            await delivery.ack()
            print("acked")
        await consumer.close()
        print("the consumer is gone")
    await broker.close()


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(redeliver(Path(folder)))


if __name__ == "__main__":
    main()
