"""The whole lifecycle as one literal table, held against the domain cell by cell.

The table is written out, not computed, so that a change of the lifecycle is a change of this
file. Each cell is asked twice: of the table alone, and of the verb of `Media` with every guard
satisfied (right token, lease over, retry due).
"""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest

from domain import lifecycle
from domain.errors import IllegalTransition
from domain.lifecycle import DUPLICATES, TRANSITIONS, State, Trigger, Verdict
from domain.media import Change, Media
from domain.retry_policy import RetryPolicy
from tests.support import builders

MATRIX = """
                   PENDING_UPLOAD  UPLOADED  PROCESSING  RETRYING  READY    FAILED   EXPIRED  DELETED
complete_upload    moved           ignored   ignored     ignored   ignored  ignored  illegal  illegal
start_processing   illegal         moved     moved       moved     ignored  ignored  ignored  ignored
finish_processing  illegal         illegal   moved       illegal   illegal  illegal  illegal  illegal
schedule_retry     illegal         illegal   moved       illegal   illegal  illegal  illegal  illegal
fail               illegal         moved     moved       moved     ignored  ignored  ignored  ignored
release            illegal         illegal   moved       illegal   illegal  illegal  illegal  illegal
lose_lease         ignored         ignored   moved       ignored   ignored  ignored  ignored  ignored
expire             moved           ignored   ignored     ignored   ignored  ignored  ignored  ignored
reprocess          illegal         ignored   ignored     ignored   ignored  moved    illegal  illegal
"""  # noqa: E501  a table is read across

DESTINATIONS = {
    Trigger.COMPLETE_UPLOAD: State.UPLOADED,
    Trigger.START_PROCESSING: State.PROCESSING,
    Trigger.FINISH_PROCESSING: State.READY,
    Trigger.SCHEDULE_RETRY: State.RETRYING,
    Trigger.FAIL: State.FAILED,
    Trigger.RELEASE: State.UPLOADED,
    Trigger.LOSE_LEASE: State.RETRYING,
    Trigger.EXPIRE: State.EXPIRED,
    Trigger.REPROCESS: State.UPLOADED,
}

Cell = tuple[State, Trigger, Verdict]


def read_matrix() -> list[Cell]:
    header, *rows = (line.split() for line in MATRIX.strip().splitlines())
    return [
        (State(state), Trigger(row[0]), Verdict(word))
        for row in rows
        for state, word in zip(header, row[1:], strict=True)
    ]


CELLS = read_matrix()
LATER = builders.NOW + timedelta(days=1)


def fire(media: Media, trigger: Trigger) -> Change:
    """Call the verb at a time when every deadline has passed, with the current token."""
    now, policy, token = LATER, RetryPolicy(), media.lease_token
    verbs: dict[Trigger, Callable[[], Change]] = {
        Trigger.COMPLETE_UPLOAD: lambda: media.complete_upload(
            now=now, policy=policy, etag="e", size=1, traceparent=None
        ),
        Trigger.START_PROCESSING: lambda: builders.claim(media, now=now),
        Trigger.FINISH_PROCESSING: lambda: builders.finish(media, now=now),
        Trigger.SCHEDULE_RETRY: lambda: builders.retry(media, now=now),
        Trigger.FAIL: lambda: builders.fail(media, now=now),
        Trigger.RELEASE: lambda: media.release(now=now, policy=policy, token=token),
        Trigger.LOSE_LEASE: lambda: media.lose_lease(now=now, policy=policy),
        Trigger.EXPIRE: lambda: media.expire(now=now),
        Trigger.REPROCESS: lambda: media.reprocess(now=now, policy=policy),
    }
    return verbs[trigger]()


def name(cell: Cell) -> str:
    state, trigger, verdict = cell
    return f"{trigger}-in-{state}-is-{verdict.value}"


def cells(verdict: Verdict) -> pytest.MarkDecorator:
    chosen = [cell for cell in CELLS if cell[2] is verdict]
    return pytest.mark.parametrize("cell", chosen, ids=name)


def test_the_matrix_has_a_cell_for_every_state_and_trigger() -> None:
    assert {(state, trigger) for state, trigger, _ in CELLS} == {
        (state, trigger) for state in State for trigger in Trigger
    }
    assert len(CELLS) == len(State) * len(Trigger)


@pytest.mark.parametrize("cell", CELLS, ids=name)
def test_the_table_gives_the_verdict_of_the_matrix(cell: Cell) -> None:
    state, trigger, verdict = cell
    assert lifecycle.verdict(state, trigger) is verdict


@cells(Verdict.MOVED)
def test_a_verb_that_moves_counts_the_version_and_reaches_its_state(cell: Cell) -> None:
    state, trigger, _ = cell
    media = builders.in_state(state)
    change = fire(media, trigger)
    assert change.moved
    assert change.media.state is DESTINATIONS[trigger]
    assert change.media.version == media.version + 1
    assert change.media.updated_at == LATER


@cells(Verdict.IGNORED)
def test_a_duplicate_changes_nothing(cell: Cell) -> None:
    state, trigger, _ = cell
    media = builders.in_state(state)
    before = replace(media)
    change = fire(media, trigger)
    assert not change.moved
    assert change.media is media
    assert media == before


@cells(Verdict.ILLEGAL)
def test_an_illegal_trigger_raises_and_changes_nothing(cell: Cell) -> None:
    state, trigger, _ = cell
    media = builders.in_state(state)
    before = replace(media)
    with pytest.raises(IllegalTransition, match=f"{media.id}: {trigger} is illegal in {state}"):
        fire(media, trigger)
    assert media == before


def test_the_third_lost_lease_ends_in_failed() -> None:
    media = replace(builders.processing(), lost_leases=2)
    assert fire(media, Trigger.LOSE_LEASE).media.state is State.FAILED


def test_no_state_is_both_a_source_and_a_duplicate_of_a_trigger() -> None:
    for arrow in TRANSITIONS:
        assert arrow.source not in DUPLICATES[arrow.trigger]


def test_every_state_that_is_not_terminal_has_a_way_out() -> None:
    moving = {arrow.source for arrow in TRANSITIONS if arrow.source is not arrow.dest}
    assert set(State) - lifecycle.TERMINAL <= moving


def test_every_state_but_deleted_can_be_reached() -> None:
    reached = {State.PENDING_UPLOAD} | {arrow.dest for arrow in TRANSITIONS}
    assert reached == set(State) - {State.DELETED}
