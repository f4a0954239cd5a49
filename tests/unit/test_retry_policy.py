"""Which failures are tried again, how often, and after how long."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.failure import OUTAGES, PERMANENT, SUSPECT, TITLES, Failure, FailureCode
from domain.retry_policy import GiveUp, Retry, RetryPolicy

POLICY = RetryPolicy()
UNREADABLE = FailureCode.ORIGINAL_UNREADABLE
TRANSIENT = set(FailureCode) - PERMANENT - SUSPECT - OUTAGES - {UNREADABLE}
FRACTIONS = st.floats(0.0, 1.0, exclude_max=True)


def decide(
    code: FailureCode, attempt: int, *, postponed: int = 0, died: int = 0, fraction: float = 0.5
) -> Retry | GiveUp:
    return POLICY.decide(code, attempt=attempt, postponed=postponed, died=died, fraction=fraction)


@pytest.mark.parametrize("code", sorted(PERMANENT))
def test_a_fault_of_the_photo_is_not_tried_again(code: FailureCode) -> None:
    assert decide(code, 1) == GiveUp(code)


@pytest.mark.parametrize("code", sorted(SUSPECT))
def test_a_photo_that_kills_its_decoder_twice_is_to_blame(code: FailureCode) -> None:
    assert decide(code, 1) == Retry(1.0, charged=True)
    assert decide(code, 2, died=1) == GiveUp(code)


@pytest.mark.parametrize("code", sorted(SUSPECT))
def test_a_photo_that_kills_its_decoder_once_is_not_to_blame_for_what_else_failed(
    code: FailureCode,
) -> None:
    assert decide(code, 2) == Retry(4.0, charged=True)
    assert decide(code, 5) == GiveUp(FailureCode.ATTEMPTS_EXHAUSTED)


@pytest.mark.parametrize("code", sorted(TRANSIENT))
def test_other_failures_are_tried_until_the_attempts_are_used_up(code: FailureCode) -> None:
    delays = [decide(code, attempt) for attempt in range(1, 5)]
    assert delays == [Retry(seconds, charged=True) for seconds in (1.0, 4.0, 16.0, 64.0)]
    assert decide(code, 5) == GiveUp(FailureCode.ATTEMPTS_EXHAUSTED)


@pytest.mark.parametrize("code", sorted(OUTAGES))
def test_an_outage_is_never_charged_and_never_the_end(code: FailureCode) -> None:
    answers = [decide(code, 5, postponed=count) for count in (0, 1, 2, 3, 4, 10_000)]
    assert answers == [Retry(s, charged=False) for s in (0.5, 1.0, 2.0, 4.0, 4.0, 4.0)]


def test_an_object_that_cannot_be_read_is_charged_now_and_then_until_the_photo_ends() -> None:
    answers = [decide(UNREADABLE, 1, postponed=count) for count in (0, 3, 19, 20)]
    assert answers == [
        Retry(0.5, charged=False),
        Retry(4.0, charged=False),
        Retry(4.0, charged=False),
        Retry(1.0, charged=True),
    ]
    assert decide(UNREADABLE, 5, postponed=19) == Retry(4.0, charged=False)
    assert decide(UNREADABLE, 5, postponed=20) == GiveUp(FailureCode.ATTEMPTS_EXHAUSTED)


@given(attempt=st.integers(1, 10_000), fraction=FRACTIONS)
def test_a_delay_lies_between_nothing_and_the_cap(attempt: int, fraction: float) -> None:
    delay = POLICY.backoff_seconds(attempt, fraction)
    assert 0.0 <= delay < POLICY.cap_seconds


@given(attempt=st.integers(1, 100), fraction=FRACTIONS)
def test_the_bound_of_the_delay_never_shrinks(attempt: int, fraction: float) -> None:
    assert POLICY.backoff_seconds(attempt, fraction) <= POLICY.backoff_seconds(
        attempt + 1, fraction
    )


def test_silence_grows_and_stays_finite() -> None:
    assert [POLICY.silence_seconds(count) for count in (0, 1, 2)] == [60.0, 240.0, 960.0]
    assert POLICY.silence_seconds(10) == POLICY.silence_seconds(10_000)


def test_the_kinds_of_failure_do_not_overlap() -> None:
    assert not PERMANENT & SUSPECT
    assert not OUTAGES & (PERMANENT | SUSPECT)


def test_every_code_has_a_title_that_is_a_sentence() -> None:
    assert set(TITLES) == set(FailureCode)
    assert all(title[0].isupper() and title.endswith(".") for title in TITLES.values())


@pytest.mark.parametrize(
    ("code", "retryable"),
    [
        (FailureCode.IMAGE_TRUNCATED, False),
        (FailureCode.ORIGINAL_CHANGED, False),
        (FailureCode.DECODE_TIMEOUT, True),
        (FailureCode.ATTEMPTS_EXHAUSTED, True),
        (FailureCode.WORKER_CRASHED, True),
        (FailureCode.MESSAGE_UNDELIVERABLE, True),
    ],
)
def test_a_failure_says_whether_a_replay_could_end_differently(
    code: FailureCode, retryable: bool
) -> None:
    assert Failure(code, "A reason.", 1).retryable is retryable
