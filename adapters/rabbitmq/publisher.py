"""Confirmed publishing over one shared channel that is opened when needed."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

from aio_pika import Connection, DeliveryMode, Message
from aio_pika.abc import AbstractChannel, AbstractExchange, HeadersType
from aio_pika.exceptions import ChannelNotFoundEntity, PublishError

from adapters.rabbitmq.connection import (
    Timing,
    broker_errors,
    close_connection,
    in_background,
    open_connection,
)
from adapters.rabbitmq.topology import EXCHANGE
from application.ports import Publisher, Queue
from domain.errors import BrokerUnavailable, UnroutableMessage


@dataclass(frozen=True, slots=True)
class _Link:
    connection: Connection
    channel: AbstractChannel  # The driver keeps no strong reference of its own.
    exchange: AbstractExchange


class ConfirmedPublisher(Publisher):
    """Overlapping calls share one channel, so a batch waits for its confirms together."""

    def __init__(self, url: str, timing: Timing) -> None:
        self._url = url
        self._timing = timing
        self._opening: asyncio.Task[_Link] | None = None

    async def publish(self, message_id: str, body: bytes, headers: Mapping[str, str]) -> None:
        message = Message(
            body,
            headers=cast("HeadersType", dict(headers)),
            content_type="application/json",
            delivery_mode=DeliveryMode.PERSISTENT,
            message_id=message_id,
            app_id="image-pipeline",
        )
        opening: asyncio.Task[_Link] | None = None
        try:
            with broker_errors(f"confirm message {message_id}"):
                async with asyncio.timeout(self._timing.publish_seconds):
                    opening = self._opened()
                    await self._send(await asyncio.shield(opening), message)
        except BrokerUnavailable as error:
            if isinstance(error.__cause__, TimeoutError):
                self._abandon(opening)
            raise

    async def check(self) -> None:
        """Ask the broker for the queue, on a channel of its own: a wrong answer closes it."""
        with broker_errors("answer a check"):
            async with asyncio.timeout(self._timing.check_seconds):
                link = await asyncio.shield(self._opened())
                probe = await link.connection.channel(publisher_confirms=False)
                await probe.declare_queue(Queue.PROCESS.value, passive=True)
                await probe.close()

    async def close(self) -> None:
        """Let go of the connection; publishes under way raise BrokerUnavailable."""
        opening, self._opening = self._opening, None
        if opening is not None:
            opening.cancel()
            await self._close(opening)

    async def _send(self, link: _Link, message: Message) -> None:
        try:
            await link.exchange.publish(message, Queue.PROCESS.value, mandatory=True)
        except (PublishError, ChannelNotFoundEntity) as error:
            raise UnroutableMessage(
                f"message {message.message_id} was returned: no queue is bound to {EXCHANGE} for "
                f"{Queue.PROCESS.value}; run `pipeline migrate`"
            ) from error

    def _opened(self) -> asyncio.Task[_Link]:
        """The link in use or being opened. One attempt serves all who wait, also if it fails."""
        if self._opening is None or _is_over(self._opening):
            self._abandon(self._opening)
            self._opening = in_background(self._open())
        return self._opening

    async def _open(self) -> _Link:
        connection = await open_connection(self._url, purpose="publisher", timing=self._timing)
        try:
            with broker_errors("open a channel"):
                async with asyncio.timeout(self._timing.connect_seconds):
                    channel = await connection.channel(on_return_raises=True)
                    exchange = await channel.get_exchange(EXCHANGE, ensure=False)
        except BaseException:
            await close_connection(connection, self._timing)
            raise
        return _Link(connection, channel, exchange)

    def _abandon(self, opening: asyncio.Task[_Link] | None) -> None:
        """Never use this link again: a peer that did not confirm in time may be gone."""
        if opening is not None:
            in_background(self._close(opening))
        if self._opening is opening:
            self._opening = None

    async def _close(self, opening: asyncio.Task[_Link]) -> None:
        await asyncio.wait({opening})
        if not opening.cancelled() and opening.exception() is None:
            await close_connection(opening.result().connection, self._timing)


def _is_over(opening: asyncio.Task[_Link]) -> bool:
    if not opening.done():
        return False
    failed = opening.cancelled() or opening.exception() is not None
    return failed or opening.result().channel.is_closed
