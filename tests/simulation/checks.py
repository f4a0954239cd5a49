"""What must hold, whatever happens. Apart from the workload, so that neither hides the other.

Checks look at every commit, at every change of the store and at every ack, as they happen.
"""

from collections import Counter
from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from itertools import pairwise

from application.messages import ProcessRequest
from domain.lifecycle import CLAIMABLE, TRANSITIONS, State
from domain.media import Media
from domain.parts import Attempt, Outcome
from domain.retry_policy import RetryPolicy

_ARROWS = {(arrow.source, arrow.dest) for arrow in TRANSITIONS}

EXCUSES_WITHIN = timedelta(seconds=3.0)  # of the database's return; ARCHITECTURE.md says so


class Violation(AssertionError):
    """A promise was broken."""


class Checks:
    """`seen` counts the arrows of the lifecycle that commits have taken."""

    def __init__(self, policy: RetryPolicy, lease_seconds: float) -> None:
        self.seen: Counter[tuple[State, State]] = Counter()
        self.violations: list[str] = []
        self._policy = policy
        self._lease = timedelta(seconds=lease_seconds)
        self._ready: dict[str, Media] = {}

    def require(self, condition: object, sentence: str) -> None:
        """Kept as well as raised: the code under test may outlive an exception."""
        if not condition:
            self.violations.append(sentence)
            raise Violation(sentence)

    # --- commits -----------------------------------------------------------------------------

    def committed(
        self,
        before: Media | None,
        after: Media,
        enqueued: Sequence[ProcessRequest],
        now: datetime,
        objects: dict[str, str],
    ) -> None:
        """One media of a commit; `objects` maps the keys in the store to their ETags."""
        if before is None:
            return
        name = f"media {after.id}"
        self.require(after.lease_token >= before.lease_token, f"{name}: the token went back")
        if (before.state, after.state) == (State.FAILED, State.UPLOADED):
            self.require(after.attempt == 0, f"{name}: reprocessed without all its attempts")
        self.require(
            after.attempt <= self._policy.attempts_max, f"{name}: {after.attempt} attempts"
        )
        if before.state is after.state and before.lease_token == after.lease_token:
            self.require(before.state is not State.READY or before.variants == after.variants, name)
            self._check_renewal(before, after, now)
            return
        arrow = (before.state, after.state)
        self.require(arrow in _ARROWS, f"{name} went from {arrow[0]} to {arrow[1]}")
        self.seen[arrow] += 1
        self._check_arrow(before, after, now)
        if after.state in CLAIMABLE:
            self.require(
                any(request.media_id == after.id for request in enqueued),
                f"{name} is {after.state} without a message in the same commit",
            )
        if after.state is State.READY:
            self._check_ready(after, objects)

    def _check_renewal(self, before: Media, after: Media, now: datetime) -> None:
        if after.state is State.PROCESSING and before.deadline_at != after.deadline_at:
            self._check_lease(after, now)

    def _check_arrow(self, before: Media, after: Media, now: datetime) -> None:
        name = f"media {after.id}"
        if after.state is State.PROCESSING:
            self.require(after.attempt == before.attempt + 1, f"{name}: a claim was not charged")
            self.require(after.lease_token == before.lease_token + 1, f"{name}: no new token")
            self._check_lease(after, now)
        if before.state is State.PROCESSING:
            self._check_end_of_lease(before, after, now)

    def _check_lease(self, media: Media, now: datetime) -> None:
        assert media.deadline_at is not None
        slack = timedelta(milliseconds=1)
        self.require(
            now - slack <= media.deadline_at - self._lease <= now + slack,
            f"media {media.id}: a lease that is not by the database's clock",
        )

    def _check_end_of_lease(self, before: Media, after: Media, now: datetime) -> None:
        assert before.deadline_at is not None
        name = f"media {after.id}"
        if after.lost_leases > before.lost_leases:
            self.require(before.deadline_at <= now, f"{name}: a living lease was taken away")
        last = before.attempts[-1].number
        outcome = next(one.outcome for one in after.attempts if one.number == last)
        self.require(outcome is not None, f"{name}: an attempt without an outcome")
        charged = outcome not in (Outcome.RELEASED, Outcome.POSTPONED)
        if after.state in CLAIMABLE:
            expected = before.attempt if charged else before.attempt - 1
            self.require(after.attempt == expected, f"{name}: {outcome} charged wrongly")

    def _check_ready(self, media: Media, objects: dict[str, str]) -> None:
        name = f"media {media.id}"
        self.require(media.id not in self._ready, f"{name} became READY twice")
        self._ready[media.id] = media
        prefix = f"media/{media.id}/{media.lease_token}/"
        for variant in media.variants:
            self.require(variant.key in objects, f"{name} is READY without {variant.key}")
            self.require(variant.key.startswith(prefix), f"{name} has a variant of another attempt")

    def only_the_silent_were_charged(self, media: Media, silent: Collection[str]) -> None:
        """Of a photo that never failed by itself: whose lease was lost had crashed, stood still or
        was told to stop.
        """
        for one, following in pairwise(media.attempts):
            self.require(
                one.outcome is not Outcome.LEASE_LOST
                or one.worker_id in silent
                or _came_too_late(one, following, media),
                f"media {media.id} was charged although {one.worker_id} lived",
            )

    # --- the store ---------------------------------------------------------------------------

    def object_changed(self, key: str) -> None:
        """An object is about to be removed or replaced."""
        media = self._ready.get(key.split("/")[1]) if key.count("/") > 1 else None
        if media is not None:
            in_use = any(variant.key == key for variant in media.variants)
            self.require(not in_use, f"an object of READY media {media.id} was changed: {key}")

    # --- the broker --------------------------------------------------------------------------

    def acked(self, media: Media | None, worker_id: str | None, others: int) -> None:
        """A worker acks while it has `others` further deliveries of this media in its hands."""
        if media is None or worker_id is None:
            return
        working = media.state is State.PROCESSING and media.worker_id == worker_id
        self.require(
            not working or others > 0,
            f"media {media.id} was acked before its attempt was committed",
        )


def _came_too_late(one: Attempt, following: Attempt, media: Media) -> bool:
    """Whether the photo was at rest before the worker of `one` had found the database again."""
    taken, ended = following.started_at, following.finished_at
    assert ended is not None
    is_last = following is media.attempts[-1]
    return is_last and taken == one.finished_at and ended - taken < EXCUSES_WITHIN
