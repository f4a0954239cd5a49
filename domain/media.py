"""`Media`, one photo on its way: a frozen value with one method per verb.

Each verb answers with a `Change`: *moved* with the new value, or *ignored* with the old one. A
verb that makes no sense raises `IllegalTransition`; one whose fencing token is stale raises
`LeaseLost`. Every time is handed in by the caller and is the database's.

A media that is not at rest has exactly one `deadline_at`: the moment at which somebody must look
at it again, whatever happened to its message or its worker.

    PENDING_UPLOAD       the upload link and its grace are over     -> expire
    UPLOADED, RETRYING   the message was silent for too long        -> requeue
    PROCESSING           the lease is over                          -> lose_lease
    READY, FAILED        losing attempts may have left objects      -> swept
    EXPIRED              an upload may lie in the store             -> swept
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from domain import lifecycle
from domain.errors import IllegalTransition, LeaseLost
from domain.failure import Failure, FailureCode
from domain.lifecycle import State, Trigger, Verdict
from domain.parts import (
    Attempt,
    Outcome,
    Result,
    close_latest,
    excuse_silence,
)
from domain.record import Record, object_prefix
from domain.retry_policy import RetryPolicy

ATTEMPTS_KEPT = 50
UPLOAD_GRACE_SECONDS = 300.0
# The slowest PUT that is begun in time: 50 MiB in six hours are 2.5 KB/s.
SLOWEST_UPLOAD_SECONDS = 6 * 3600.0


@dataclass(frozen=True, slots=True)
class Change:
    """The answer of a verb. `media` is the new value if `moved`, else the old one."""

    media: "Media"
    moved: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Media(Record):
    """One photo. Build new ones with `request`; the constructor rebuilds stored ones."""

    @classmethod
    def request(
        cls,
        *,
        media_id: str,
        file_name: str,
        content_type: str,
        extension: str,
        now: datetime,
        upload_seconds: float,
        declared_bytes: int | None = None,
        declared_sha256: str | None = None,
    ) -> "Media":
        """A new media that waits for its upload, which may start within `upload_seconds`."""
        expires = now + timedelta(seconds=upload_seconds)
        return cls(
            id=media_id,
            state=State.PENDING_UPLOAD,
            version=0,
            file_name=file_name,
            content_type=content_type,
            original_key=f"{object_prefix(media_id)}original.{extension}",
            created_at=now,
            updated_at=now,
            upload_expires_at=expires,
            deadline_at=expires + timedelta(seconds=UPLOAD_GRACE_SECONDS),
            declared_bytes=declared_bytes,
            declared_sha256=declared_sha256,
        )

    # --- verbs -------------------------------------------------------------------------------

    def complete_upload(
        self, *, now: datetime, policy: RetryPolicy, etag: str, size: int, traceparent: str | None
    ) -> Change:
        """The client says its photo is there; pins the very object that was seen."""
        return self._move(
            Trigger.COMPLETE_UPLOAD,
            State.UPLOADED,
            now,
            etag=etag,
            original_bytes=size,
            completed_at=now,
            traceparent=traceparent,
            deadline_at=now + timedelta(seconds=policy.silence_seconds(0)),
        )

    def start_processing(
        self, *, now: datetime, policy: RetryPolicy, worker_id: str, lease_seconds: float
    ) -> Change:
        """A worker claims the photo. A lease that is over is taken over, or lost for good.

        The attempt is charged before any byte is decoded, so a photo that kills its worker
        cannot do so for ever. Ignored while another lease lives or a retry is not yet due.
        """
        if self.state is State.PROCESSING:
            if not self.is_overdue(now):
                return Change(self, moved=False)
            if self._last_lease(policy):
                return self.lose_lease(now=now, policy=policy)
        if self.next_attempt_at is not None and now < self.next_attempt_at:
            return Change(self, moved=False)
        former = self._closed(now, Outcome.LEASE_LOST, FailureCode.WORKER_CRASHED)
        started = Attempt(number=self.lease_token + 1, worker_id=worker_id, started_at=now)
        return self._move(
            Trigger.START_PROCESSING,
            State.PROCESSING,
            now,
            attempt=self.attempt + 1,
            lost_leases=self.lost_leases + (self.state is State.PROCESSING),
            lease_token=self.lease_token + 1,
            worker_id=worker_id,
            next_attempt_at=None,
            deadline_at=now + timedelta(seconds=lease_seconds),
            attempts=(*former, started)[-ATTEMPTS_KEPT:],
        )

    def renew_lease(self, *, now: datetime, token: int, lease_seconds: float) -> "Media":
        """The worker is alive; not a transition."""
        self._require(token)
        return self._with(now, deadline_at=now + timedelta(seconds=lease_seconds))

    def finish_processing(
        self, *, now: datetime, policy: RetryPolicy, token: int, result: Result
    ) -> Change:
        """All variants are in the store; from here on they are the ones."""
        self._require_if_held(token)
        swept = _later(now, policy.sweep_seconds) if token > 1 else None
        return self._move(
            Trigger.FINISH_PROCESSING,
            State.READY,
            now,
            original=result.original,
            variants=result.variants,
            placeholder=result.placeholder,
            worker_id=None,
            deadline_at=swept,
            attempts=self._closed(now, Outcome.SUCCEEDED),
        )

    def schedule_retry(
        self,
        *,
        now: datetime,
        policy: RetryPolicy,
        token: int,
        delay_seconds: float,
        charged: bool,
        code: FailureCode,
        detail: str,
    ) -> Change:
        """This try failed; the next one may start after `delay_seconds`."""
        self._require_if_held(token)
        outcome = Outcome.FAILED if charged else Outcome.POSTPONED
        due = _later(now, delay_seconds)
        return self._move(
            Trigger.SCHEDULE_RETRY,
            State.RETRYING,
            now,
            attempt=self.attempt if charged else self.attempt - 1,
            worker_id=None,
            next_attempt_at=due,
            requeues=0,
            deadline_at=_later(due, policy.silence_seconds(0)),
            attempts=self._closed(now, outcome, code, detail),
        )

    def fail(
        self,
        *,
        now: datetime,
        policy: RetryPolicy,
        token: int | None,
        code: FailureCode,
        detail: str,
        cause: FailureCode | None = None,
    ) -> Change:
        """Give the photo up. `token` is None where no worker holds it (a dead letter).

        `cause` is the code of this very attempt where the verdict on the photo is another one.
        """
        if self.state is State.PROCESSING:
            if token is None:
                return Change(self, moved=False)
            self._require(token)
        return self._move(
            Trigger.FAIL,
            State.FAILED,
            now,
            worker_id=None,
            next_attempt_at=None,
            failure=Failure(code, detail, self.attempt),
            deadline_at=self._sweep_at(now, policy),
            attempts=self._closed(now, Outcome.FAILED, cause or code, detail),
        )

    def release(self, *, now: datetime, policy: RetryPolicy, token: int) -> Change:
        """The worker stops in good order and gives the photo back; the attempt is not charged."""
        self._require_if_held(token)
        return self._move(
            Trigger.RELEASE,
            State.UPLOADED,
            now,
            attempt=self.attempt - 1,
            worker_id=None,
            requeues=0,
            deadline_at=_later(now, policy.silence_seconds(0)),
            attempts=self._closed(now, Outcome.RELEASED),
        )

    def lose_lease(self, *, now: datetime, policy: RetryPolicy) -> Change:
        """The worker fell silent: retry at once, or give up after too many times.

        The lease was the delay, and leases end at different times.
        """
        if self.state is not State.PROCESSING or not self.is_overdue(now):
            return Change(self, moved=False)
        lost = self.lost_leases + 1
        closed = self._closed(now, Outcome.LEASE_LOST, FailureCode.WORKER_CRASHED)
        if self._last_lease(policy):
            code, detail = self._lease_verdict(policy)
            return self._move(
                Trigger.LOSE_LEASE,
                State.FAILED,
                now,
                lost_leases=lost,
                worker_id=None,
                failure=Failure(code, detail, self.attempt),
                deadline_at=self._sweep_at(now, policy),
                attempts=closed,
            )
        return self._move(
            Trigger.LOSE_LEASE,
            State.RETRYING,
            now,
            lost_leases=lost,
            worker_id=None,
            next_attempt_at=now,
            requeues=0,
            deadline_at=_later(now, policy.silence_seconds(0)),
            attempts=closed,
        )

    def excuse(self, *, now: datetime, token: int) -> Change:
        """The worker with this token lives: the database was away when its lease was to be renewed.

        The attempt is not charged; not a transition. Ignored once the photo is at rest, because
        what was answered stays.
        """
        detail = "The database did not answer while the photo was processed."
        code = FailureCode.DATABASE_UNAVAILABLE
        attempts = excuse_silence(self.attempts, token, self.attempt, code, detail)
        if self.is_terminal or attempts is None:
            return Change(self, moved=False)
        excused = self._with(
            now, attempt=self.attempt - 1, lost_leases=self.lost_leases - 1, attempts=attempts
        )
        return Change(excused, moved=True)

    def requeue(self, *, now: datetime, policy: RetryPolicy) -> Change:
        """The message is presumed lost: send another, and wait longer next time."""
        if self.state not in lifecycle.CLAIMABLE or not self.is_overdue(now):
            return Change(self, moved=False)
        count = self.requeues + 1
        silence = policy.silence_seconds(count)
        return Change(self._with(now, requeues=count, deadline_at=_later(now, silence)), moved=True)

    def expire(self, *, now: datetime, sweep_seconds: float = SLOWEST_UPLOAD_SECONDS) -> Change:
        """The upload was never completed. The object, if any, is removed by the sweeper.

        That waits for `sweep_seconds`: a PUT that was begun in time may still be under way.
        """
        if self.state is State.PENDING_UPLOAD and not self.is_overdue(now):
            return Change(self, moved=False)
        swept = _later(now, sweep_seconds)
        return self._move(Trigger.EXPIRE, State.EXPIRED, now, deadline_at=swept)

    def reprocess(self, *, now: datetime, policy: RetryPolicy) -> Change:
        """The operator wants another go at a FAILED photo, with all its attempts."""
        return self._move(
            Trigger.REPROCESS,
            State.UPLOADED,
            now,
            attempt=0,
            lost_leases=0,
            requeues=0,
            failure=None,
            deadline_at=_later(now, policy.silence_seconds(0)),
        )

    def swept(self, *, now: datetime) -> "Media":
        """Nothing but what it keeps is left of this media in the store; not a transition."""
        return self._with(now, deadline_at=None)

    # --- inside ------------------------------------------------------------------------------

    def _move(self, trigger: Trigger, to: State, now: datetime, **changes: Any) -> Change:
        """Ask the table; the only place that assigns a state."""
        answer = lifecycle.verdict(self.state, trigger)
        if answer is Verdict.ILLEGAL:
            raise IllegalTransition(self.id, self.state, trigger)
        if answer is Verdict.IGNORED:
            return Change(self, moved=False)
        if to not in lifecycle.destinations(self.state, trigger):
            raise IllegalTransition(self.id, self.state, trigger)
        return Change(self._with(now, state=to, **changes), moved=True)

    def _with(self, now: datetime, **changes: Any) -> "Media":
        return replace(self, version=self.version + 1, updated_at=now, **changes)

    def _require_if_held(self, token: int) -> None:
        """Elsewhere than in PROCESSING there is no lease, and the table says what follows."""
        if self.state is State.PROCESSING:
            self._require(token)

    def _require(self, token: int) -> None:
        if not self.holds(token):
            raise LeaseLost(self.id, token)

    def _last_lease(self, policy: RetryPolicy) -> bool:
        return self.lost_leases + 1 >= policy.lost_leases_max or self.attempt >= policy.attempts_max

    def _lease_verdict(self, policy: RetryPolicy) -> tuple[FailureCode, str]:
        lost = self.lost_leases + 1
        if lost >= policy.lost_leases_max:
            return FailureCode.WORKER_CRASHED, f"{lost} workers died while they held this photo."
        detail = f"All {self.attempt} attempts failed; in the last one the worker died."
        return FailureCode.ATTEMPTS_EXHAUSTED, detail

    def _sweep_at(self, now: datetime, policy: RetryPolicy) -> datetime | None:
        return _later(now, policy.sweep_seconds) if self.lease_token else None

    def _closed(
        self,
        now: datetime,
        outcome: Outcome,
        code: FailureCode | None = None,
        detail: str | None = None,
    ) -> tuple[Attempt, ...]:
        return close_latest(self.attempts, now, outcome, code, detail)


def _later(moment: datetime, seconds: float) -> datetime:
    return moment + timedelta(seconds=seconds)
