"""What happens to messages in the queue's file; each function is one transaction in the thread.

A message that is taken stays in its row until `taken_until`. A delivery is known by its row and
the number of deliveries so far: whoever settles an earlier one finds no row, as if the
connection it came on had gone.
"""

import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import msgspec

from adapters.sql import load_statements
from adapters.sqlite.connection import in_transaction
from adapters.sqlite.times import Clock, read_clock, seconds_to_micros, to_micros
from application.ports import Queue

SQL = load_statements("adapters.sqlite", "broker.sql")
REJECTED = "rejected"
DELIVERY_LIMIT_REACHED = "delivery_limit"
_HEADERS = msgspec.json.Decoder(dict[str, str])


@dataclass(frozen=True, slots=True)
class Tag:
    """One delivery of one message."""

    seq: int
    deliveries: int


@dataclass(frozen=True, slots=True)
class Taken:
    """A message that was just delivered."""

    tag: Tag
    message_id: str
    body: bytes
    headers: Mapping[str, str]
    reason: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Messages:
    """The statements, with what they need to know. Settling answers whether the tag was good.

    A message that came back more than `delivery_limit` times goes to DEAD.
    """

    clock: Clock | None
    visibility_seconds: float
    delivery_limit: int

    def publish(
        self, connection: sqlite3.Connection, message_id: str, body: bytes, headers: bytes
    ) -> None:
        parameters = {
            "queue": Queue.PROCESS.value,
            "message_id": message_id,
            "body": body,
            "headers": headers.decode(),
        }
        connection.execute(SQL["publish"], parameters)

    def take(self, connection: sqlite3.Connection, queue: Queue) -> tuple[Taken | None, int]:
        """The next message, if there is one; and how many were dead-lettered on the way."""
        now = to_micros(read_clock(connection, self.clock))
        parameters = {"queue": queue.value, "now": now}
        # Looked at first without a lock: an idle consumer disturbs nobody.
        if not connection.execute(SQL["is_due"], parameters).fetchone()[0]:
            return None, 0
        parameters |= {"until": now + seconds_to_micros(self.visibility_seconds)}

        def take(inside: sqlite3.Connection) -> tuple[Taken | None, int]:
            given_up = 0
            for row in iter(lambda: inside.execute(SQL["take"], parameters).fetchall(), []):
                taken = _taken(row[0])
                if not self._is_exhausted(taken.tag.deliveries - 1, queue):
                    return taken, given_up
                self._bury(inside, taken.tag, DELIVERY_LIMIT_REACHED)
                given_up += 1
            return None, given_up

        return in_transaction(take)(connection)

    def renew(self, connection: sqlite3.Connection, tags: Sequence[Tag]) -> None:
        until = to_micros(read_clock(connection, self.clock))
        until += seconds_to_micros(self.visibility_seconds)
        parameters = [{"until": until, **_tag(tag)} for tag in tags]
        in_transaction(lambda inside: inside.executemany(SQL["renew"], parameters))(connection)

    def ack(self, connection: sqlite3.Connection, tag: Tag) -> bool:
        return connection.execute(SQL["ack"], _tag(tag)).rowcount == 1

    def dead_letter(self, connection: sqlite3.Connection, tag: Tag) -> bool:
        return self._bury(connection, tag, REJECTED)

    def give_back(self, connection: sqlite3.Connection, tags: Sequence[Tag], queue: Queue) -> bool:
        """Into the queue again, or into DEAD after too many returns; whether all were out."""

        def give_back(inside: sqlite3.Connection) -> bool:
            return sum(self._return(inside, tag, queue) for tag in tags) == len(tags)

        return in_transaction(give_back)(connection)

    def give_all_back(self, connection: sqlite3.Connection) -> None:
        connection.execute(SQL["give_all_back"])

    def _return(self, connection: sqlite3.Connection, tag: Tag, queue: Queue) -> bool:
        if self._is_exhausted(tag.deliveries, queue):
            return self._bury(connection, tag, DELIVERY_LIMIT_REACHED)
        return connection.execute(SQL["give_back"], _tag(tag)).rowcount == 1

    def _bury(self, connection: sqlite3.Connection, tag: Tag, reason: str) -> bool:
        parameters = {"dead": Queue.DEAD.value, "reason": reason, **_tag(tag)}
        return connection.execute(SQL["dead_letter"], parameters).rowcount == 1

    def _is_exhausted(self, returns: int, queue: Queue) -> bool:
        return queue is Queue.PROCESS and returns > self.delivery_limit


def encode_headers(headers: Mapping[str, str]) -> bytes:
    return msgspec.json.encode(dict(headers))


def _taken(row: sqlite3.Row) -> Taken:
    return Taken(
        tag=Tag(row["seq"], row["deliveries"]),
        message_id=row["message_id"],
        body=row["body"],
        headers=_HEADERS.decode(row["headers"]),
        reason=row["reason"],
    )


def _tag(tag: Tag) -> dict[str, int]:
    return {"seq": tag.seq, "deliveries": tag.deliveries}
