"""The lifecycle of a photo: states, triggers and the one table of transitions.

A trigger fired in a state has one of three answers. MOVED: the table has an arrow. IGNORED: the
trigger is a duplicate of something that already happened; there is nothing to do. ILLEGAL: a
defect; nothing may change. What depends on more than the state (the lease, its token, the due
time) is decided by `domain.media`, the only caller of this module.

`transitions` holds the table in one module-level machine without a model: asking it costs about
a microsecond, a machine per photo would cost a hundred times that and keep the photo alive.
"""

from enum import Enum, StrEnum
from typing import NamedTuple

from transitions import Machine


class State(StrEnum):
    """Where a photo stands; the `status` of the HTTP contract."""

    PENDING_UPLOAD = "PENDING_UPLOAD"
    UPLOADED = "UPLOADED"
    PROCESSING = "PROCESSING"
    RETRYING = "RETRYING"
    READY = "READY"
    FAILED = "FAILED"
    EXPIRED = "EXPIRED"
    DELETED = "DELETED"


class Trigger(StrEnum):
    """What can happen to a photo."""

    COMPLETE_UPLOAD = "complete_upload"
    START_PROCESSING = "start_processing"
    FINISH_PROCESSING = "finish_processing"
    SCHEDULE_RETRY = "schedule_retry"
    FAIL = "fail"
    RELEASE = "release"
    LOSE_LEASE = "lose_lease"
    EXPIRE = "expire"
    REPROCESS = "reprocess"


class Verdict(Enum):
    """The three answers to a trigger."""

    MOVED = "moved"
    IGNORED = "ignored"
    ILLEGAL = "illegal"


class Arrow(NamedTuple):
    """One arrow of the table; also one keyword set for `transitions`."""

    trigger: Trigger
    source: State
    dest: State


TRANSITIONS: tuple[Arrow, ...] = (
    Arrow(Trigger.COMPLETE_UPLOAD, State.PENDING_UPLOAD, State.UPLOADED),
    Arrow(Trigger.START_PROCESSING, State.UPLOADED, State.PROCESSING),
    Arrow(Trigger.START_PROCESSING, State.RETRYING, State.PROCESSING),
    Arrow(Trigger.START_PROCESSING, State.PROCESSING, State.PROCESSING),
    Arrow(Trigger.FINISH_PROCESSING, State.PROCESSING, State.READY),
    Arrow(Trigger.SCHEDULE_RETRY, State.PROCESSING, State.RETRYING),
    Arrow(Trigger.FAIL, State.UPLOADED, State.FAILED),
    Arrow(Trigger.FAIL, State.PROCESSING, State.FAILED),
    Arrow(Trigger.FAIL, State.RETRYING, State.FAILED),
    Arrow(Trigger.RELEASE, State.PROCESSING, State.UPLOADED),
    Arrow(Trigger.LOSE_LEASE, State.PROCESSING, State.RETRYING),
    Arrow(Trigger.LOSE_LEASE, State.PROCESSING, State.FAILED),
    Arrow(Trigger.EXPIRE, State.PENDING_UPLOAD, State.EXPIRED),
    Arrow(Trigger.REPROCESS, State.FAILED, State.UPLOADED),
)

_S = State
DUPLICATES: dict[Trigger, frozenset[State]] = {
    Trigger.COMPLETE_UPLOAD: frozenset(
        {_S.UPLOADED, _S.PROCESSING, _S.RETRYING, _S.READY, _S.FAILED}
    ),
    Trigger.START_PROCESSING: frozenset({_S.READY, _S.FAILED, _S.EXPIRED, _S.DELETED}),
    Trigger.FINISH_PROCESSING: frozenset(),
    Trigger.SCHEDULE_RETRY: frozenset(),
    Trigger.FAIL: frozenset({_S.READY, _S.FAILED, _S.EXPIRED, _S.DELETED}),
    Trigger.RELEASE: frozenset(),
    Trigger.LOSE_LEASE: frozenset(_S) - {_S.PROCESSING},
    Trigger.EXPIRE: frozenset(_S) - {_S.PENDING_UPLOAD},
    Trigger.REPROCESS: frozenset({_S.UPLOADED, _S.PROCESSING, _S.RETRYING, _S.READY}),
}

TERMINAL = frozenset({State.READY, State.FAILED, State.EXPIRED, State.DELETED})
CLAIMABLE = frozenset({State.UPLOADED, State.RETRYING})

MACHINE = Machine(
    model=None,
    states=[state.value for state in State],
    initial=State.PENDING_UPLOAD.value,
    transitions=[
        {"trigger": arrow.trigger.value, "source": arrow.source.value, "dest": arrow.dest.value}
        for arrow in TRANSITIONS
    ],
    auto_transitions=False,
)


def destinations(state: State, trigger: Trigger) -> tuple[State, ...]:
    """The states that `trigger` may lead to from `state`; empty where the table has no arrow."""
    arrows = MACHINE.get_transitions(trigger.value, state.value)
    return tuple(State(arrow.dest) for arrow in arrows)


def verdict(state: State, trigger: Trigger) -> Verdict:
    """Which of the three answers the table gives, before any guard is asked."""
    if destinations(state, trigger):
        return Verdict.MOVED
    return Verdict.IGNORED if state in DUPLICATES[trigger] else Verdict.ILLEGAL
