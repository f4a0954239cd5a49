"""What is stored of one photo, and the questions that can be asked of it."""

from dataclasses import dataclass
from datetime import datetime

from domain.errors import UploadSizeMismatch, UploadTooLarge
from domain.failure import SUSPECT, Failure
from domain.lifecycle import TERMINAL, State
from domain.parts import (
    Attempt,
    Original,
    Outcome,
    Placeholder,
    Variant,
    count_latest,
    latest_charged,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """The stored values of one photo.

    `version` counts the commits that changed the row. `attempt` counts charged attempts,
    `lease_token` every claim: it only grows. `declared_sha256` is base64, as S3 spells it;
    sizes are bytes.
    """

    id: str
    state: State
    version: int
    file_name: str
    content_type: str
    original_key: str
    created_at: datetime
    updated_at: datetime
    upload_expires_at: datetime
    deadline_at: datetime | None
    declared_bytes: int | None = None
    declared_sha256: str | None = None
    completed_at: datetime | None = None
    etag: str | None = None
    original_bytes: int | None = None
    traceparent: str | None = None
    attempt: int = 0
    lost_leases: int = 0
    lease_token: int = 0
    requeues: int = 0
    worker_id: str | None = None
    next_attempt_at: datetime | None = None
    attempts: tuple[Attempt, ...] = ()
    original: Original | None = None
    variants: tuple[Variant, ...] = ()
    placeholder: Placeholder | None = None
    failure: Failure | None = None

    @property
    def is_terminal(self) -> bool:
        return self.state in TERMINAL

    @property
    def needs_upload(self) -> bool:
        return self.state is State.PENDING_UPLOAD

    @property
    def postponed_in_a_row(self) -> int:
        """How many of the latest finished tries were ended by an outage."""
        return count_latest(self.attempts, Outcome.POSTPONED)

    @property
    def decoder_deaths(self) -> int:
        """In how many charged tries the decoder has died since the photo came in, or came again."""
        charged = latest_charged(self.attempts, self.attempt)
        return sum(one.error_code in SUSPECT for one in charged)

    def holds(self, token: int) -> bool:
        """Whether the worker with this fencing token may still write."""
        return self.state is State.PROCESSING and self.lease_token == token

    def was_finished_by(self, token: int) -> bool:
        return self.state is State.READY and self.lease_token == token

    def variant_prefix(self, token: int) -> str:
        """Where the attempt with this token writes; no other attempt ever writes there."""
        return f"{object_prefix(self.id)}{token}/"

    def is_garbage(self, key: str) -> bool:
        """Whether an object may be removed once the media is at rest.

        Only what attempts up to the current token wrote is judged: should the photo be
        reprocessed meanwhile, the new attempt writes under a larger token and is never touched.
        """
        if self.state is State.EXPIRED:
            return True
        owner, separator, _ = key.removeprefix(object_prefix(self.id)).partition("/")
        if not separator or not owner.isdecimal() or int(owner) > self.lease_token:
            return False
        return all(key != variant.key for variant in self.variants)

    def check_upload(self, size: int, max_bytes: int) -> None:
        """Refuse an object of `size` bytes that breaks the limit or the declaration."""
        if size > max_bytes:
            raise UploadTooLarge(self.id, size, max_bytes)
        if self.declared_bytes is not None and size != self.declared_bytes:
            raise UploadSizeMismatch(self.id, size, self.declared_bytes)

    def is_overdue(self, now: datetime) -> bool:
        """Whether the moment has passed at which somebody must look at it."""
        return self.deadline_at is not None and self.deadline_at <= now


def object_prefix(media_id: str) -> str:
    """Every object of a media, its original included, lies under this prefix."""
    return f"media/{media_id}/"
