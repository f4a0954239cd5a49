"""What the contract suite cannot ask of the SQLite queue: visibility, kills, outages."""

import asyncio
import signal
import sqlite3
import subprocess
import sys
from collections.abc import AsyncGenerator
from contextlib import closing, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from adapters.sqlite import SqliteBroker
from application.ports import Delivery, Queue
from domain.errors import BrokerUnavailable
from tests.support.waiting import eventually

pytestmark = pytest.mark.anyio

_TAKE_AND_HOLD = """
import asyncio, sys
from pathlib import Path
from adapters.sqlite import SqliteBroker
from application.ports import Queue

async def main():
    broker = await SqliteBroker.open(Path(sys.argv[1]))
    consumer = await broker.consume(Queue.PROCESS, prefetch=1)
    print((await consumer.receive()).message_id, flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""


class Clock:
    def __init__(self) -> None:
        self.now = datetime(2026, 1, 1, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def pass_seconds(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "queue"


@pytest.fixture
async def broker(path: Path) -> AsyncGenerator[SqliteBroker]:
    broker = await SqliteBroker.open(path, busy_timeout_seconds=0.1, poll_seconds=0.02)
    yield broker
    await broker.close()


def _count(path: Path) -> int:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute("SELECT COUNT(*) FROM message").fetchone()[0]


async def test_what_was_published_outlives_the_broker(broker: SqliteBroker, path: Path) -> None:
    await broker.publish("1", b"\x00\xff", {"traceparent": "é"})
    await broker.close()
    again = await SqliteBroker.open(path)
    consumer = await again.consume(Queue.PROCESS, prefetch=1)
    delivery = await consumer.receive()
    assert (delivery.body, dict(delivery.headers)) == (b"\x00\xff", {"traceparent": "é"})
    assert (delivery.redelivered, delivery.reason) == (False, None)
    await delivery.ack()
    await again.close()
    assert _count(path) == 0


async def test_messages_come_in_the_order_in_which_they_were_published(
    broker: SqliteBroker,
) -> None:
    for number in range(5):
        await broker.publish(str(number), b"", {})
    consumer = await broker.consume(Queue.PROCESS, prefetch=5)
    assert [(await consumer.receive()).message_id for _ in range(5)] == list("01234")


async def test_a_consumer_of_another_process_finds_messages_by_polling(
    broker: SqliteBroker, path: Path
) -> None:
    consumer = await broker.consume(Queue.PROCESS, prefetch=1)
    receiving = asyncio.create_task(consumer.receive())
    other = await SqliteBroker.open(path)
    await other.publish("1", b"", {})
    assert (await receiving).message_id == "1"
    await other.close()


async def test_a_waiting_consumer_wakes_at_once_when_this_process_publishes(path: Path) -> None:
    broker = await SqliteBroker.open(path, poll_seconds=60.0)
    consumer = await broker.consume(Queue.PROCESS, prefetch=1)
    receiving = asyncio.create_task(consumer.receive())
    await asyncio.sleep(0)
    await broker.publish("1", b"", {})
    async with asyncio.timeout(5.0):
        first = await receiving
        receiving = asyncio.create_task(consumer.receive())
        await broker.publish("2", b"", {})
        await first.ack()  # And when an ack makes room.
        await receiving
    await broker.close()


async def test_what_a_killed_process_held_comes_back_when_nobody_else_is_there(
    broker: SqliteBroker, path: Path
) -> None:
    await broker.publish("1", b"", {})
    process = _start_holder(path)
    assert process.stdout is not None
    assert process.stdout.readline().strip() == "1"
    await broker.close()
    beside = await SqliteBroker.open(path, poll_seconds=0.01)
    assert await _receives_nothing(beside)  # The holder lives: opening took nothing from it.
    await beside.close()
    process.send_signal(signal.SIGKILL)
    process.communicate()
    alone = await SqliteBroker.open(path)
    delivery = await (await alone.consume(Queue.PROCESS, prefetch=1)).receive()
    assert delivery.redelivered
    await alone.close()


def _start_holder(path: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", _TAKE_AND_HOLD, str(path)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


async def _receives_nothing(broker: SqliteBroker) -> bool:
    consumer = await broker.consume(Queue.PROCESS, prefetch=1)
    with suppress(TimeoutError):
        async with asyncio.timeout(0.1):
            await consumer.receive()
            return False
    await consumer.close()
    return True


async def test_a_silent_consumer_loses_its_message_after_the_visibility_time(path: Path) -> None:
    clock = Clock()
    broker = await SqliteBroker.open(path, clock=clock, poll_seconds=0.01)
    await broker.publish("1", b"", {})
    silent = await (await broker.consume(Queue.PROCESS, prefetch=1)).receive()
    clock.pass_seconds(59)
    assert await _receives_nothing(broker)
    clock.pass_seconds(2)
    again = await (await broker.consume(Queue.PROCESS, prefetch=1)).receive()
    assert again.redelivered
    with pytest.raises(BrokerUnavailable):
        await silent.ack()
    await again.ack()
    await broker.close()
    assert _count(path) == 0


async def test_a_living_consumer_keeps_its_message_beyond_the_visibility_time(path: Path) -> None:
    broker = await SqliteBroker.open(path, visibility_seconds=0.3, poll_seconds=0.01)
    await broker.publish("1", b"", {})
    delivery = await (await broker.consume(Queue.PROCESS, prefetch=1)).receive()
    begun = asyncio.get_running_loop().time()
    while asyncio.get_running_loop().time() - begun < 0.9:
        assert await _receives_nothing(broker)
    await delivery.ack()
    await broker.close()


async def test_a_cancelled_receive_loses_no_message(broker: SqliteBroker) -> None:
    """Cancelled after every possible number of turns of the loop."""
    consumer = await broker.consume(Queue.PROCESS, prefetch=3)
    for turns in range(30):
        await broker.publish(str(turns), b"", {})
        task = asyncio.create_task(consumer.receive())
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        try:
            delivery: Delivery = await task
        except asyncio.CancelledError:
            delivery = await consumer.receive()
        assert (delivery.message_id, delivery.redelivered) == (str(turns), False)
        await delivery.ack()


async def test_a_message_taken_while_the_consumer_stops_goes_back(broker: SqliteBroker) -> None:
    for turns in range(20):
        await broker.publish(str(turns), b"", {})
        consumer = await broker.consume(Queue.PROCESS, prefetch=1)
        task = asyncio.create_task(consumer.receive())
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        await consumer.stop()
        await asyncio.gather(task, return_exceptions=True)
        other = await broker.consume(Queue.PROCESS, prefetch=1)
        if not task.cancelled():
            await consumer.close()
        async with asyncio.timeout(5.0):
            delivery = await other.receive()
        assert delivery.message_id == str(turns)
        await delivery.ack()
        await other.close()
        await consumer.close()


async def test_a_stopped_consumer_takes_nothing_more(broker: SqliteBroker) -> None:
    consumer = await broker.consume(Queue.PROCESS, prefetch=1)
    await consumer.stop()
    receiving = asyncio.create_task(consumer.receive())
    await broker.publish("1", b"", {})
    other = await broker.consume(Queue.PROCESS, prefetch=1)
    async with asyncio.timeout(5.0):
        delivery = await other.receive()
    assert (delivery.message_id, delivery.redelivered) == ("1", False)
    receiving.cancel()
    await asyncio.gather(receiving, return_exceptions=True)
    assert receiving.cancelled()


async def test_a_message_that_comes_back_too_often_is_dead_lettered_once(path: Path) -> None:
    clock = Clock()
    broker = await SqliteBroker.open(path, clock=clock, delivery_limit=2, poll_seconds=0.01)
    await broker.publish("requeued", b"", {})
    await broker.publish("abandoned", b"", {})
    consumer = await broker.consume(Queue.PROCESS, prefetch=1)
    for _ in range(3):
        await (await consumer.receive()).requeue()
    await consumer.close()
    dead = await broker.consume(Queue.DEAD, prefetch=2)
    first = await dead.receive()
    assert (first.message_id, first.reason) == ("requeued", "delivery_limit")
    await first.dead_letter()  # In DEAD the same as ack.
    for _ in range(3):
        consumer = await broker.consume(Queue.PROCESS, prefetch=1)
        await consumer.receive()
        clock.pass_seconds(61)
    assert await _receives_nothing(broker)
    second = await dead.receive()
    assert (second.message_id, second.reason) == ("abandoned", "delivery_limit")
    await second.ack()
    await broker.close()
    assert _count(path) == 0


async def test_a_locked_file_refuses_publishers_and_lets_consumers_wait(
    broker: SqliteBroker, path: Path
) -> None:
    consumer = await broker.consume(Queue.PROCESS, prefetch=1)
    await broker.publish("1", b"", {})
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        receiving = asyncio.create_task(consumer.receive())
        with pytest.raises(BrokerUnavailable):
            await broker.publish("2", b"", {})
        assert not receiving.done()
        other.execute("ROLLBACK")
    assert (await receiving).message_id == "1"


async def test_a_delivery_that_could_not_be_settled_makes_room(
    broker: SqliteBroker, path: Path
) -> None:
    await broker.publish("1", b"", {})
    await broker.publish("2", b"", {})
    consumer = await broker.consume(Queue.PROCESS, prefetch=1)
    first = await consumer.receive()
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(BrokerUnavailable):
            await first.ack()
        other.execute("ROLLBACK")
    assert (await consumer.receive()).message_id == "2"


async def test_a_closed_broker_settles_nothing(broker: SqliteBroker, path: Path) -> None:
    await broker.publish("1", b"", {})
    delivery = await (await broker.consume(Queue.PROCESS, prefetch=1)).receive()
    await broker.check()
    await broker.close()
    for settle in (delivery.ack, delivery.requeue, delivery.dead_letter, broker.check):
        with pytest.raises(BrokerUnavailable):
            await settle()

    async def messages() -> int:
        return _count(path)

    assert await eventually(messages) == 1
