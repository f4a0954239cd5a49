"""Every port of the application, on one page. A method's docstring is its contract.

Adapters subclass the protocols explicitly; `tests/contract` holds all sets to these docstrings.
Sizes are bytes, durations seconds, times timezone-aware UTC. Every method that talks to a server
raises the `Unavailable` of its kind when the server does not answer within its time limit, and
leaves the driver's error in `__cause__`.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Protocol

from application.messages import ProcessRequest
from application.values import (
    Backlog,
    DeadLetter,
    Downloaded,
    Due,
    OutboxRow,
    RenderedFile,
    Rendering,
    RenderJob,
    SignedUpload,
    StoredObject,
)
from domain.failure import FailureCode
from domain.lifecycle import State
from domain.media import Media

# --- the database ----------------------------------------------------------------------------


class MediaRepository(Protocol):
    """The media inside one transaction."""

    async def add(self, media: Media) -> None:
        """Insert a new media. An id that exists raises VersionConflict, at the latest on commit."""
        ...

    async def get(self, media_id: str, *, lock: bool = False) -> Media | None:
        """The media, or None.

        With `lock`, nobody else's change to it can be committed between this read and our
        commit: either others wait for us, or our commit raises VersionConflict.
        """
        ...

    async def save(self, media: Media) -> None:
        """Replace the stored value that this transaction has read with `get(lock=True)`.

        Raises VersionConflict, at the latest on commit, if the stored version is another one.
        """
        ...

    async def due(
        self, states: frozenset[State], *, limit: int, after: Due | None = None
    ) -> Sequence[Due]:
        """Media in `states` with `deadline_at <= now`, oldest deadline first, after the cursor.

        Not locked: read again with `get(lock=True)` and let the verb decide.
        """
        ...


class DeadLetters(Protocol):
    """The kept dead letters inside one transaction."""

    async def keep(self, letter: DeadLetter) -> None:
        """Insert the letter; one with this id that is there already stays as it is."""
        ...

    async def get(self, letter_id: str) -> DeadLetter | None: ...

    async def list(self, *, limit: int) -> Sequence[DeadLetter]:
        """The letters, newest first."""
        ...

    async def mark_replayed(self, letter_id: str) -> None:
        """Set `replayed_at` to now."""
        ...

    async def mark_dismissed(self, letter_id: str) -> None:
        """Set `dismissed_at` to now."""
        ...


class UnitOfWork(Protocol):
    """One transaction. Leaving it without `commit` undoes everything."""

    @property
    def media(self) -> MediaRepository: ...

    @property
    def dead_letters(self) -> DeadLetters: ...

    @property
    def now(self) -> datetime:
        """The database's time, fixed when the transaction began. The only clock for leases."""
        ...

    async def enqueue(self, request: ProcessRequest, *, delay_seconds: float = 0.0) -> None:
        """Append to the outbox, due `delay_seconds` after now; visible to relays after commit."""
        ...

    async def commit(self) -> None:
        """Make all changes durable, atomically, and hint to dispatchers that work is due.

        Raises VersionConflict: nothing was kept. Raises DatabaseUnavailable: *unknown*; the
        changes may be durable although the answer was lost. Read again before deciding.
        """
        ...


class Database(Protocol):
    """Where transactions begin."""

    def begin(self) -> AbstractAsyncContextManager[UnitOfWork]:
        """A new transaction, never shared between tasks. No work but the database's inside it."""
        ...


class OutboxRelay(Protocol):
    """The reading side of the outbox. Each method is a transaction of its own."""

    async def claim(self, *, limit: int, hold_seconds: float) -> Sequence[OutboxRow]:
        """Unpublished rows that are due and not held by another relay, earliest due first.

        They are held for `hold_seconds`; a relay that dies gives them back by silence.
        """
        ...

    async def mark_published(self, ids: Sequence[int]) -> None:
        """Never offer these rows again. To be called after the broker's confirm, never before."""
        ...

    async def release(self, ids: Sequence[int]) -> None:
        """Give held rows back at once: they could not be published."""
        ...

    async def prune(self, *, older_than_seconds: float, limit: int) -> int:
        """Delete up to `limit` rows published that long ago; returns how many."""
        ...


class OutboxHint(Protocol):
    """Wakes dispatchers early. Only a hint: it may be lost, late or false."""

    async def wait(self, timeout_seconds: float) -> None:
        """Return when something was committed to the outbox since the last call, or on timeout."""
        ...


class Overview(Protocol):
    """Read-only questions of operators and of the metrics page."""

    async def backlog(self) -> Backlog:
        """Cheap at any size of the table: looks at unfinished work only."""
        ...

    async def totals(self) -> Mapping[State, int]:
        """Media by state, all of them. May be slow on a large table."""
        ...

    async def failed(self, *, code: FailureCode | None, limit: int) -> Sequence[Media]:
        """FAILED media, the latest first, optionally of one failure code only."""
        ...


# --- the broker ------------------------------------------------------------------------------


class Queue(StrEnum):
    """The two queues of the topology. PROCESS dead-letters into DEAD, at least once."""

    PROCESS = "media.process"
    DEAD = "media.dead"


class Publisher(Protocol):
    """Sends messages to workers."""

    async def publish(self, message_id: str, body: bytes, headers: Mapping[str, str]) -> None:
        """Send to PROCESS: persistent, mandatory; returns only after the broker's confirm.

        Raises UnroutableMessage if it was returned, BrokerUnavailable if there was no confirm:
        then it may have been sent all the same. Calls may overlap, each with its own id.
        """
        ...


class Delivery(Protocol):
    """One message in our hands, to be settled exactly once; unsettled ones come again.

    Settling raises BrokerUnavailable when the connection it came on is gone: the broker has
    taken the message back then and delivers it again.
    """

    @property
    def message_id(self) -> str: ...
    @property
    def body(self) -> bytes: ...
    @property
    def headers(self) -> Mapping[str, str]: ...
    @property
    def redelivered(self) -> bool: ...
    @property
    def reason(self) -> str | None:
        """Why it was dead-lettered (`rejected`, `delivery_limit`, …); None in PROCESS."""
        ...

    async def ack(self) -> None:
        """Done with it; only after what it asked for is durable."""
        ...

    async def dead_letter(self) -> None:
        """Move it to DEAD (from PROCESS) for a human to see; in DEAD the same as `ack`."""
        ...

    async def requeue(self) -> None:
        """Hand it back unhandled, to be delivered again, to anyone. Not for retries."""
        ...


class Consumer(Protocol):
    """Takes messages from one queue; at most `prefetch` are unsettled at any time."""

    async def receive(self) -> Delivery:
        """The next delivery; waits for it, through reconnects, for as long as it takes."""
        ...

    async def reconnect(self) -> None:
        """Drop the connection and start anew; unsettled deliveries come again."""
        ...

    async def stop(self) -> None:
        """Take no more; deliveries not yet received go back; received ones can be settled."""
        ...

    async def close(self) -> None:
        """Stop and let go of the connection; what is unsettled goes back to the queue."""
        ...


class Broker(Protocol):
    """Where consumers come from."""

    async def consume(self, queue: Queue, *, prefetch: int) -> Consumer:
        """A consumer on a channel of its own."""
        ...


# --- the object store ------------------------------------------------------------------------


class ObjectStore(Protocol):
    """The bytes. Keys are `media/{id}/...`; an object appears whole or not at all."""

    async def head(self, key: str) -> StoredObject | None:
        """What is stored under `key`, or None."""
        ...

    async def download(self, key: str, *, etag: str, to: Path, max_bytes: int) -> Downloaded:
        """Write exactly the pinned object to the new file `to`, streaming.

        Raises ProcessingFailed with `original-missing`, `original-changed` (another ETag),
        `too-many-bytes`, or `original-unreadable` where it is this object that the store cannot
        read, and not the store that is away or refuses us everything.
        """
        ...

    async def upload(self, key: str, source: Path, *, content_type: str) -> None:
        """Store the file under `key`, replacing what is there; durable on return."""
        ...

    async def list_keys(self, prefix: str) -> Sequence[str]:
        """Every key that starts with `prefix`, sorted."""
        ...

    async def delete(self, keys: Sequence[str]) -> None:
        """Remove the objects; keys that are not there are no error."""
        ...


class UrlSigner(Protocol):
    """Links that let a client talk to the store without credentials. Signs; never calls."""

    async def upload_url(
        self,
        key: str,
        *,
        content_type: str,
        expires_seconds: int,
        size: int | None,
        sha256: str | None,
    ) -> SignedUpload:
        """A link to PUT `key`. A size or SHA-256 (base64) that is given is enforced by the store.

        With a SHA-256 the upload is write-once: a second PUT is refused.
        """
        ...

    async def download_url(self, key: str, *, expires_seconds: int) -> str:
        """A link to GET `key`."""
        ...


# --- pictures --------------------------------------------------------------------------------


class ImageEngine(Protocol):
    """Turns one file into variants, in isolation: whatever the file does, the caller lives."""

    async def render(self, job: RenderJob, on_variant: Callable[[RenderedFile], None]) -> Rendering:
        """Make all variants; `on_variant` is called for each as soon as it is finished.

        Raises ProcessingFailed with the code that fits, or DiskFull if the machine has no room
        for the work. Cancelling it ends the decoder at once.
        Never opens the picture in the calling process.
        """
        ...


# --- the machine -----------------------------------------------------------------------------


class Scratch(Protocol):
    """Room on disk for one attempt."""

    def folder(self) -> AbstractAsyncContextManager[Path]:
        """A new empty private folder, gone with everything in it on exit.

        A write inside that finds the disk full is raised as DiskFull.
        """
        ...


class Ids(Protocol):
    """Identifiers and chance."""

    def media_id(self) -> str:
        """A new ULID: 26 characters of Crockford base32."""
        ...

    def fraction(self) -> float:
        """A random number in [0, 1), for jitter."""
        ...


class Dependency(Protocol):
    """A server that can be asked whether it is there."""

    @property
    def name(self) -> str: ...

    async def check(self) -> None:
        """Return if it can do its work now; raise Unavailable, saying why, if not."""
        ...
