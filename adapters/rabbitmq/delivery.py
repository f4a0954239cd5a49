"""One message in our hands."""

import asyncio
import hashlib
from collections.abc import Awaitable, Mapping
from typing import Any, cast

from aio_pika.abc import AbstractIncomingMessage

from adapters.rabbitmq.connection import Timing, broker_errors, in_background
from application.ports import Delivery, Queue
from domain.errors import BrokerUnavailable


class RabbitDelivery(Delivery):
    """A delivery is bound to the channel it came on, and useless when that is gone."""

    def __init__(self, message: AbstractIncomingMessage, queue: Queue, timing: Timing) -> None:
        self._message = message
        self._queue = queue
        self._timing = timing
        self._settled = False
        self._headers = text_headers(message.headers)

    @property
    def message_id(self) -> str:
        """The sender's id; for a message without one, an id made from its bytes."""
        return self._message.message_id or f"sha256:{hashlib.sha256(self.body).hexdigest()}"

    @property
    def body(self) -> bytes:
        return self._message.body

    @property
    def headers(self) -> Mapping[str, str]:
        return self._headers

    @property
    def redelivered(self) -> bool:
        return bool(self._message.redelivered)

    @property
    def reason(self) -> str | None:
        return None if self._queue is Queue.PROCESS else death_reason(self._message.headers)

    async def ack(self) -> None:
        await self._settle("take an ack", self._message.ack)

    async def dead_letter(self) -> None:
        if self._queue is Queue.DEAD:
            await self.ack()
        else:
            await self._settle("take a reject", self._message.reject, requeue=False)

    async def requeue(self) -> None:
        await self._settle("take a message back", self._message.reject, requeue=True)

    async def _settle(self, action: str, settle: Any, **how: bool) -> None:
        """Send it within the time limit, whether or not the caller is cancelled meanwhile."""
        if self._settled:
            raise BrokerUnavailable(f"message {self.message_id} is no longer ours to settle")
        self._settled = True
        sending = in_background(_bounded(settle(**how), self._timing.settle_seconds))
        with broker_errors(f"{action} for message {self.message_id}"):
            await _outlast_cancellation(sending)


async def _bounded(work: Awaitable[None], seconds: float) -> None:
    async with asyncio.timeout(seconds):
        await work


async def _outlast_cancellation(sending: asyncio.Task[None]) -> None:
    """Wait for the task even if we are cancelled, and only then obey."""
    try:
        await asyncio.shield(sending)
    except asyncio.CancelledError:
        await asyncio.wait({sending})
        raise


def text_headers(headers: Mapping[str, Any] | None) -> dict[str, str]:
    """The headers that are text or a plain scalar, as text; tables, lists and others are left out.

    Bytes that are not UTF-8 get replacement characters.
    """
    found: dict[str, str] = {}
    for name, value in (headers or {}).items():
        if isinstance(value, (bytes, bytearray)):
            found[name] = value.decode(errors="replace")
        elif isinstance(value, (str, bool, int, float)):
            found[name] = str(value)
    return found


def death_reason(headers: Mapping[str, Any] | None) -> str:
    """Why the broker dead-lettered it last: `rejected`, `delivery_limit`, …; or `unknown`."""
    headers = headers or {}
    deaths = headers.get("x-death")
    latest = cast("list[Any]", deaths)[0] if isinstance(deaths, list) and deaths else None
    reason = cast("dict[str, Any]", latest).get("reason") if isinstance(latest, dict) else None
    reason = reason or headers.get("x-first-death-reason")
    return reason if isinstance(reason, str) else "unknown"
