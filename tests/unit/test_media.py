"""What the verbs of `Media` decide beyond the table: tokens, leases, due times, charges."""

from dataclasses import fields, replace
from datetime import datetime, timedelta

import pytest

from domain.errors import LeaseLost, UploadSizeMismatch, UploadTooLarge
from domain.failure import FailureCode
from domain.lifecycle import State
from domain.media import ATTEMPTS_KEPT, UPLOAD_GRACE_SECONDS, Change, Media
from domain.parts import Outcome
from tests.support import builders
from tests.support.builders import LEASE_SECONDS, NOW, POLICY, claim, fail, finish, retry


def after(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


def lose(media: Media, *, now: datetime) -> Change:
    return media.lose_lease(now=now, policy=POLICY)


def test_a_requested_media_waits_for_its_upload_and_a_grace() -> None:
    media = builders.pending()
    assert media.original_key == f"media/{media.id}/original.jpg"
    assert media.upload_expires_at == after(900)
    assert media.deadline_at == after(900 + UPLOAD_GRACE_SECONDS)
    assert media.version == 0


def test_completing_pins_the_object_that_was_seen() -> None:
    media = builders.uploaded()
    assert (media.etag, media.original_bytes) == ("d41d8-1", 2_097_152)
    assert media.completed_at == NOW
    assert media.traceparent == builders.TRACEPARENT
    assert media.deadline_at == after(POLICY.requeue_seconds)


def test_completing_twice_keeps_the_first_object() -> None:
    media = builders.uploaded()
    again = media.complete_upload(
        now=after(1), policy=POLICY, etag="other", size=1, traceparent=None
    )
    assert again == Change(media, moved=False)


# --- claims ----------------------------------------------------------------------------------


def test_a_claim_is_charged_and_fenced_before_anything_is_decoded() -> None:
    media = claim(builders.uploaded(), worker_id="w").media
    assert (media.attempt, media.lease_token, media.worker_id) == (1, 1, "w")
    assert media.deadline_at == after(LEASE_SECONDS)
    [attempt] = media.attempts
    assert (attempt.number, attempt.worker_id, attempt.outcome) == (1, "w", None)


@pytest.mark.parametrize(("seconds", "moved"), [(LEASE_SECONDS - 0.001, False), (15.0, True)])
def test_a_lease_can_be_taken_over_only_when_it_is_over(seconds: float, moved: bool) -> None:
    media = builders.processing()
    assert claim(media, now=after(seconds), worker_id="w2").moved is moved


def test_taking_over_closes_the_lost_try_and_counts_it() -> None:
    media = claim(builders.processing(), now=after(20), worker_id="w2").media
    assert (media.attempt, media.lease_token, media.lost_leases) == (2, 2, 1)
    lost, open_one = media.attempts
    assert (lost.outcome, lost.error_code) == (Outcome.LEASE_LOST, FailureCode.WORKER_CRASHED)
    assert lost.finished_at == after(20)
    assert (open_one.number, open_one.worker_id) == (2, "w2")


def test_a_claim_of_the_last_lost_lease_fails_the_photo() -> None:
    media = replace(builders.processing(), lost_leases=2)
    media = claim(media, now=after(20)).media
    assert media.state is State.FAILED
    assert media.failure is not None
    assert media.failure.code is FailureCode.WORKER_CRASHED


@pytest.mark.parametrize(("seconds", "moved"), [(1.999, False), (2.0, True)])
def test_a_retry_can_be_claimed_only_when_it_is_due(seconds: float, moved: bool) -> None:
    media = builders.retrying()
    change = claim(media, now=after(seconds))
    assert change.moved is moved
    assert (change.media.next_attempt_at is None) is moved


def test_only_the_latest_tries_are_kept() -> None:
    media = builders.processing()
    for number in range(ATTEMPTS_KEPT + 5):
        media = retry(media, charged=False, now=after(number * 10)).media
        media = claim(media, now=after(number * 10 + 5)).media
    assert len(media.attempts) == ATTEMPTS_KEPT
    assert media.attempts[-1].number == media.lease_token == ATTEMPTS_KEPT + 6


# --- leases and tokens -----------------------------------------------------------------------


def test_renewing_moves_the_deadline_and_nothing_else() -> None:
    media = builders.processing()
    renewed = media.renew_lease(now=after(5), token=1, lease_seconds=LEASE_SECONDS)
    assert renewed.deadline_at == after(20)
    assert renewed == replace(
        media, deadline_at=after(20), updated_at=after(5), version=media.version + 1
    )


@pytest.mark.parametrize("state", sorted(set(State) - {State.PROCESSING}))
def test_a_lease_cannot_be_renewed_where_none_is_held(state: State) -> None:
    media = builders.in_state(state)
    with pytest.raises(LeaseLost):
        media.renew_lease(now=NOW, token=media.lease_token, lease_seconds=LEASE_SECONDS)


def stale(media: Media) -> list[Change]:
    """Every verb of a worker, with the token of the lease before."""
    token, code = media.lease_token - 1, FailureCode.INTERNAL_ERROR
    verbs = {
        "renew": lambda: Change(media.renew_lease(now=NOW, token=token, lease_seconds=1), True),
        "finish": lambda: media.finish_processing(
            now=NOW, policy=POLICY, token=token, result=builders.result(media.id, token)
        ),
        "retry": lambda: media.schedule_retry(
            now=NOW,
            policy=POLICY,
            token=token,
            delay_seconds=1.0,
            charged=True,
            code=code,
            detail="",
        ),
        "fail": lambda: media.fail(now=NOW, policy=POLICY, token=token, code=code, detail=""),
        "release": lambda: media.release(now=NOW, policy=POLICY, token=token),
    }
    changes: list[Change] = []
    for verb in verbs.values():
        with pytest.raises(LeaseLost, match=f"media {media.id}: lease {token} is no longer held"):
            changes.append(verb())
    return changes


def test_a_worker_with_a_stale_token_can_write_nothing() -> None:
    media = claim(builders.processing(), now=after(20)).media
    assert stale(media) == []


def test_a_dead_letter_does_not_fail_a_photo_that_a_worker_holds() -> None:
    media = builders.processing()
    change = media.fail(
        now=NOW, policy=POLICY, token=None, code=FailureCode.MESSAGE_UNDELIVERABLE, detail=""
    )
    assert change == Change(media, moved=False)


def test_a_lease_is_lost_only_when_it_is_over() -> None:
    media = builders.processing()
    assert not lose(media, now=after(LEASE_SECONDS - 0.001)).moved
    assert lose(media, now=after(LEASE_SECONDS)).moved


def test_a_lost_lease_is_retried_at_once_and_stays_charged() -> None:
    media = lose(builders.processing(), now=after(20)).media
    assert (media.state, media.attempt, media.lost_leases) == (State.RETRYING, 1, 1)
    assert media.next_attempt_at == after(20)
    assert media.worker_id is None


def _lost_and_claimed_again() -> Media:
    lost = lose(builders.processing(), now=after(LEASE_SECONDS)).media
    return claim(lost, now=after(LEASE_SECONDS + 10)).media


def test_a_worker_that_outlived_an_outage_is_excused_and_its_attempt_not_charged() -> None:
    media = _lost_and_claimed_again().excuse(now=NOW, token=1).media
    assert (media.state, media.attempt, media.lost_leases) == (State.PROCESSING, 1, 0)
    assert (media.lease_token, media.holds(2)) == (2, True)
    assert [one.outcome for one in media.attempts] == [Outcome.POSTPONED, None]


@pytest.mark.parametrize("token", [0, 2, 3])
def test_only_a_lost_lease_is_excused(token: int) -> None:
    assert not _lost_and_claimed_again().excuse(now=NOW, token=token).moved


def test_a_lease_is_excused_once() -> None:
    media = _lost_and_claimed_again().excuse(now=NOW, token=1).media
    assert not media.excuse(now=NOW, token=1).moved


def test_what_was_charged_before_the_photo_was_reprocessed_is_settled() -> None:
    media, late = builders.processing(), after(3600)
    for _ in range(POLICY.lost_leases_max - 1):
        media = replace(claim(lose(media, now=late).media, now=late).media, deadline_at=NOW)
    failed = lose(media, now=late).media
    assert failed.state is State.FAILED
    assert not failed.excuse(now=late, token=3).moved, "what was answered stays"
    again = failed.reprocess(now=late, policy=POLICY).media
    assert not again.excuse(now=late, token=3).moved
    assert not claim(again, now=late).media.excuse(now=late, token=3).moved


def test_a_lost_lease_of_the_last_attempt_exhausts_the_photo() -> None:
    media = replace(builders.processing(), attempt=POLICY.attempts_max)
    media = lose(media, now=after(20)).media
    assert media.failure is not None
    assert media.failure.code is FailureCode.ATTEMPTS_EXHAUSTED


# --- ends of a try ---------------------------------------------------------------------------


def test_finishing_keeps_the_result_and_closes_the_try() -> None:
    media = builders.ready()
    result = builders.result(media.id, 1)
    assert (media.original, media.variants) == (result.original, result.variants)
    assert media.placeholder == result.placeholder
    assert media.attempts[-1].outcome is Outcome.SUCCEEDED
    assert media.was_finished_by(1)
    assert not media.was_finished_by(2)


def test_only_a_photo_with_losing_tries_is_swept_after_the_winner() -> None:
    assert builders.ready().deadline_at is None
    second = finish(claim(builders.processing(), now=after(20)).media, now=after(21)).media
    assert second.deadline_at == after(21 + POLICY.sweep_seconds)


@pytest.mark.parametrize(
    ("charged", "attempt", "outcome"), [(True, 1, Outcome.FAILED), (False, 0, Outcome.POSTPONED)]
)
def test_only_a_charged_retry_uses_up_an_attempt(
    charged: bool, attempt: int, outcome: Outcome
) -> None:
    media = retry(builders.processing(), charged=charged).media
    assert (media.attempt, media.attempts[-1].outcome) == (attempt, outcome)
    assert media.next_attempt_at == after(2)
    assert media.deadline_at == after(2 + POLICY.requeue_seconds)


def test_outages_in_a_row_are_counted_from_the_latest_try_back() -> None:
    media = retry(builders.processing(), charged=True).media
    assert media.postponed_in_a_row == 0
    for expected in (1, 2):
        media = retry(claim(media, now=after(10)).media, charged=False).media
        assert media.postponed_in_a_row == expected
    assert claim(media, now=after(10)).media.postponed_in_a_row == 2


def test_deaths_of_the_decoder_are_counted_since_the_photo_came_in() -> None:
    media = builders.processing()
    assert media.decoder_deaths == 0
    media = retry(claim(retry(media, charged=False).media, now=after(10)).media).media
    assert media.decoder_deaths == 0
    media = retry(
        claim(media, now=after(20)).media, now=after(20), code=FailureCode.DECODE_TIMEOUT
    ).media
    media = claim(media, now=after(30)).media
    assert media.decoder_deaths == 1
    again = fail(media, now=after(30)).media.reprocess(now=after(30), policy=POLICY).media
    assert claim(again, now=after(30)).media.decoder_deaths == 0


def test_releasing_gives_the_attempt_back_but_not_the_token() -> None:
    media = builders.processing()
    released = media.release(now=NOW, policy=POLICY, token=1).media
    assert (released.state, released.attempt, released.lease_token) == (State.UPLOADED, 0, 1)
    assert released.attempts[-1].outcome is Outcome.RELEASED


def test_failing_keeps_the_reason_of_the_photo_and_of_the_try() -> None:
    media = builders.processing()
    failed = media.fail(
        now=NOW,
        policy=POLICY,
        token=1,
        code=FailureCode.ATTEMPTS_EXHAUSTED,
        detail="Five times.",
        cause=FailureCode.INTERNAL_ERROR,
    ).media
    assert failed.failure is not None
    assert failed.failure.code is FailureCode.ATTEMPTS_EXHAUSTED
    assert failed.failure.attempt == 1
    assert failed.attempts[-1].error_code is FailureCode.INTERNAL_ERROR
    assert failed.deadline_at == after(POLICY.sweep_seconds)


def test_a_photo_that_was_never_claimed_has_nothing_to_sweep() -> None:
    assert fail(builders.uploaded()).media.deadline_at is None


# --- silence, expiry, replay -----------------------------------------------------------------


@pytest.mark.parametrize("state", sorted(State))
def test_a_silent_message_is_sent_again_only_for_a_photo_that_waits(state: State) -> None:
    media = builders.overdue(builders.in_state(state))
    change = media.requeue(now=NOW, policy=POLICY)
    assert change.moved is (state in {State.UPLOADED, State.RETRYING})


def test_each_silence_lasts_longer_than_the_one_before() -> None:
    media, now = builders.uploaded(), NOW
    for seconds in (60.0, 240.0, 960.0):
        assert not media.requeue(now=now, policy=POLICY).moved
        now += timedelta(seconds=seconds)
        assert media.deadline_at == now
        media = media.requeue(now=now, policy=POLICY).media


def test_an_upload_expires_only_after_its_grace() -> None:
    media = builders.pending()
    assert not media.expire(now=after(900 + UPLOAD_GRACE_SECONDS - 0.001)).moved
    assert media.expire(now=after(900 + UPLOAD_GRACE_SECONDS)).moved


def test_reprocessing_gives_all_attempts_back_and_never_reuses_a_token() -> None:
    failed = builders.failed()
    media = failed.reprocess(now=NOW, policy=POLICY).media
    assert (media.attempt, media.lost_leases, media.requeues) == (0, 0, 0)
    assert media.failure is None
    assert claim(media).media.lease_token == failed.lease_token + 1


def test_sweeping_leaves_a_photo_at_rest() -> None:
    assert builders.failed().swept(now=NOW).deadline_at is None


def test_only_objects_of_losing_tries_are_garbage() -> None:
    media = finish(claim(builders.processing(), now=after(20)).media, now=after(21)).media
    assert not media.is_garbage(media.original_key)
    assert not any(media.is_garbage(variant.key) for variant in media.variants)
    assert media.is_garbage(f"{media.variant_prefix(1)}thumb.webp")
    assert media.is_garbage(f"{media.variant_prefix(2)}of-an-older-recipe.webp")
    assert not media.is_garbage(f"{media.variant_prefix(3)}of-an-attempt-to-come.webp")
    assert not media.is_garbage(f"media/{media.id}/note.txt")


def test_everything_of_an_expired_upload_is_garbage() -> None:
    media = builders.expired()
    assert media.is_garbage(media.original_key)


# --- uploads ---------------------------------------------------------------------------------


def test_an_upload_is_held_to_the_limit_and_to_its_declaration() -> None:
    media = builders.pending()
    media.check_upload(2_097_152, 2_097_152)
    with pytest.raises(UploadTooLarge):
        media.check_upload(2_097_152, 2_097_151)
    with pytest.raises(UploadSizeMismatch):
        media.check_upload(2_097_151, 2_097_152)
    replace(media, declared_bytes=None).check_upload(1, 2)


def test_a_media_is_a_value() -> None:
    media = builders.ready()
    assert media == replace(media)
    with pytest.raises(AttributeError):
        media.state = State.FAILED  # pyright: ignore[reportAttributeAccessIssue] the point
    assert len({field.name for field in fields(Media)}) == 27
