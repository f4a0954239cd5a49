"""When to try again, and when to give up.

Delays are full-jitter exponential: uniform between 0 and min(cap, base * factor ** n), which
spreads a crowd of retries better than any fixed fraction (Marc Brooker, "Exponential Backoff And
Jitter", AWS Architecture Blog, 2015). Every duration is in seconds. The random fraction, in
[0, 1), comes from the caller: the domain draws nothing.
"""

from dataclasses import dataclass

from domain.failure import (
    OUTAGES,
    PERMANENT,
    SUSPECT,
    SUSPECT_ATTEMPTS,
    UNREADABLE_POSTPONED,
    FailureCode,
)


@dataclass(frozen=True, slots=True)
class Retry:
    """Try again after `delay_seconds`; a try that is not `charged` does not count as an attempt."""

    delay_seconds: float
    charged: bool


@dataclass(frozen=True, slots=True)
class GiveUp:
    """The photo is FAILED with `code`."""

    code: FailureCode


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Every limit on trying again.

    `attempts_max` charged attempts at most; `lost_leases_max` leases lost at most.
    `outage_cap_seconds` bounds the delay while a server is down: short, because the photo is
    innocent and the backlog should go as soon as the server is back.
    `requeue_seconds` is how long a message may be silent before it is presumed lost; each further
    time takes `requeue_factor` times as long.
    `sweep_seconds` is how long objects of losing attempts stay after the photo is finished, so
    that a paused worker can come back, see that it lost, and clean up after itself first.
    """

    attempts_max: int = 5
    base_seconds: float = 2.0
    factor: float = 4.0
    cap_seconds: float = 600.0
    lost_leases_max: int = 3
    outage_base_seconds: float = 1.0
    outage_cap_seconds: float = 8.0
    requeue_seconds: float = 60.0
    requeue_factor: float = 4.0
    sweep_seconds: float = 60.0

    def decide(
        self, code: FailureCode, *, attempt: int, postponed: int, died: int, fraction: float
    ) -> Retry | GiveUp:
        """What follows a failed try.

        `attempt` counts the charged attempts including this one, `postponed` the tries in a row
        before this one that an outage ended, `died` the charged ones before this one in which the
        decoder died; `fraction` is random in [0, 1).
        """
        if code in PERMANENT or (code in SUSPECT and died + 1 >= SUSPECT_ATTEMPTS):
            return GiveUp(code)
        unreadable = code is FailureCode.ORIGINAL_UNREADABLE
        if code in OUTAGES or (unreadable and postponed < UNREADABLE_POSTPONED):
            ceiling = min(
                self.outage_cap_seconds, self.outage_base_seconds * 2.0 ** min(postponed, 30)
            )
            return Retry(ceiling * fraction, charged=False)
        if attempt >= self.attempts_max:
            return GiveUp(FailureCode.ATTEMPTS_EXHAUSTED)
        return Retry(self.backoff_seconds(attempt, fraction), charged=True)

    def backoff_seconds(self, attempt: int, fraction: float) -> float:
        """The delay after charged attempt number `attempt` (1 is the first)."""
        exponent = min(max(attempt - 1, 0), 60)
        return min(self.cap_seconds, self.base_seconds * self.factor**exponent) * fraction

    def silence_seconds(self, requeues: int) -> float:
        """How long to wait for a message before it is presumed lost, after `requeues` times."""
        return self.requeue_seconds * self.requeue_factor ** min(requeues, 10)
