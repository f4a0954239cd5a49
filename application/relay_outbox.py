"""Carry due messages from the outbox to the broker; at least once, never forgotten."""

import asyncio

from application.messages import encode
from application.ports import OutboxRelay, Publisher
from application.values import OutboxRow
from domain.errors import BrokerUnavailable, UnroutableMessage


class RelayOutbox:
    """Publishes one batch. A row is marked only after the broker has confirmed its message.

    Between confirm and mark a crash sends the message twice: the claim of the photo ignores the
    second. The other order would lose photos.
    """

    def __init__(
        self,
        *,
        relay: OutboxRelay,
        publisher: Publisher,
        batch: int = 100,
        hold_seconds: float = 30.0,
    ) -> None:
        self._relay = relay
        self._publisher = publisher
        self._batch = batch
        self._hold_seconds = hold_seconds

    async def __call__(self) -> int:
        """How many were published; fewer than a full batch means that nothing more is due.

        Raises BrokerUnavailable or UnroutableMessage after marking what was confirmed and
        giving the rest back.
        """
        rows = await self._relay.claim(limit=self._batch, hold_seconds=self._hold_seconds)
        if not rows:
            return 0
        failures = await asyncio.gather(*(self._publish(row) for row in rows))
        sent = [row.id for row, failure in zip(rows, failures, strict=True) if failure is None]
        unsent = [row.id for row, failure in zip(rows, failures, strict=True) if failure]
        if sent:
            await self._relay.mark_published(sent)
        if unsent:
            await self._relay.release(unsent)
            raise next(failure for failure in failures if failure)
        return len(sent)

    async def _publish(self, row: OutboxRow) -> BrokerUnavailable | UnroutableMessage | None:
        body, headers = encode(row.request)
        try:
            await self._publisher.publish(str(row.id), body, headers)
        except (BrokerUnavailable, UnroutableMessage) as failure:
            return failure
        return None
