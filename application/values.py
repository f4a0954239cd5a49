"""The plain values that pass through the ports. Sizes in bytes, times in timezone-aware UTC."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from application.messages import ProcessRequest
from domain.lifecycle import State
from domain.parts import Placeholder
from domain.recipe import Recipe


@dataclass(frozen=True, slots=True, order=True)
class Due:
    """A media whose deadline has passed; ordered by deadline, then id. A cursor for paging."""

    deadline_at: datetime
    media_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetter:
    """A kept copy of a message that could not be handled. `media_id` is None if unreadable."""

    id: str
    received_at: datetime
    reason: str
    media_id: str | None
    body: bytes
    replayed_at: datetime | None = None
    dismissed_at: datetime | None = None

    @property
    def is_open(self) -> bool:
        """Whether somebody still has to decide what becomes of it."""
        return self.replayed_at is None and self.dismissed_at is None


@dataclass(frozen=True, slots=True)
class OutboxRow:
    """A message that is due. `id` is unique for ever and serves as the message id."""

    id: int
    request: ProcessRequest
    available_at: datetime


@dataclass(frozen=True, slots=True)
class Waiting:
    """How many media wait in a state, and for how long the oldest has been in it.

    A renewed lease or a message sent again does not make a media any younger.
    """

    count: int
    oldest_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Backlog:
    """What is under way: media by non-terminal state, outbox rows that are due, dead letters
    neither replayed nor dismissed.

    `requeued` counts the media in UPLOADED or RETRYING whose message was sent again and is not yet
    presumed lost, too.
    """

    media: Mapping[State, Waiting] = field(default_factory=dict[State, Waiting])
    outbox: Waiting = Waiting(0, 0.0)
    requeued: int = 0
    dead_letters: int = 0


@dataclass(frozen=True, slots=True)
class StoredObject:
    """What the store says of an object. `etag` is opaque, without quotes."""

    etag: str
    size: int


@dataclass(frozen=True, slots=True)
class Downloaded:
    """What was written to disk; SHA-256 in hex, computed from the very bytes written."""

    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class SignedUpload:
    """A link for one PUT, and every header the client must send with it."""

    url: str
    headers: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class RenderJob:
    """Make the recipe's variants of the file `source` in the empty folder `folder`."""

    source: Path
    folder: Path
    content_type: str
    recipe: Recipe


@dataclass(frozen=True, slots=True, kw_only=True)
class RenderedFile:
    """A finished variant on disk, checked: size and SHA-256 (hex) are those of the file."""

    name: str
    path: Path
    content_type: str
    width: int
    height: int
    bytes: int
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Rendering:
    """What was learnt about the original. `stages` maps a stage to its seconds."""

    width: int
    height: int
    format: str
    placeholder: Placeholder | None
    stages: Mapping[str, float] = field(default_factory=dict[str, float])
