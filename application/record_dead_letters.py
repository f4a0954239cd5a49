"""A message could not be handled: keep a copy for a human, and say so to the photo's owner."""

import hashlib

from application.messages import ProcessRequest, decode
from application.ports import Database, Delivery, UnitOfWork
from application.transactions import transact
from application.values import DeadLetter
from domain.errors import MalformedMessage
from domain.failure import FailureCode
from domain.lifecycle import CLAIMABLE
from domain.retry_policy import RetryPolicy

BODY_KEPT_BYTES = 4096
REASON_MAX, ID_MAX = 200, 64  # characters of others' texts


class RecordDeadLetters:
    """Keeps each dead letter once; fails its photo if that still waits for this very message."""

    def __init__(self, *, database: Database, policy: RetryPolicy) -> None:
        self._database = database
        self._policy = policy

    async def __call__(self, delivery: Delivery) -> DeadLetter:
        """The kept letter. The delivery may be acked afterwards, never before."""
        try:
            request, problem = decode(delivery.body, delivery.headers), None
        except MalformedMessage as malformed:
            request, problem = None, str(malformed)

        async def record(uow: UnitOfWork) -> DeadLetter:
            letter = DeadLetter(
                id=_letter_id(delivery),
                received_at=uow.now,
                reason=_plain(problem or delivery.reason or "unknown", REASON_MAX),
                media_id=request.media_id if request else None,
                body=delivery.body[:BODY_KEPT_BYTES],
            )
            await uow.dead_letters.keep(letter)
            if request is not None:
                await self._fail(uow, request, letter.reason)
            await uow.commit()
            return letter

        return await transact(self._database, record)

    async def _fail(self, uow: UnitOfWork, request: ProcessRequest, reason: str) -> None:
        """A photo that has been claimed since this message was sent is in better hands."""
        media = await uow.media.get(request.media_id, lock=True)
        if media is None or media.state not in CLAIMABLE or media.lease_token != request.token:
            return
        change = media.fail(
            now=uow.now,
            policy=self._policy,
            token=None,
            code=FailureCode.MESSAGE_UNDELIVERABLE,
            detail=f"The work order was dead-lettered: {reason}.",
        )
        if change.moved:
            await uow.media.save(change.media)


def _letter_id(delivery: Delivery) -> str:
    """Stable over redeliveries: the message's own id and what it says."""
    digest = hashlib.sha256(delivery.body).hexdigest()[:16]
    sender = _plain(delivery.message_id, ID_MAX)
    return f"{sender}-{digest}" if sender else digest


def _plain(text: str, longest: int) -> str:
    """A text that others have chosen; PostgreSQL refuses NUL, and the letters behind would wait."""
    return "".join(one if one.isprintable() else "?" for one in text[:longest])
