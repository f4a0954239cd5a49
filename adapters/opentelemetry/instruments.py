"""Every instrument, in one table: what is counted, in which unit, under which labels, and why.

A label is bounded by construction: its values are listed here, or the sentence beside it says
what bounds them. Never an id, a key or a client's text. A value that is not listed becomes
`other`. Where all labels are listed, counters start at 0, so that the first event is seen as an
increase. docs/telemetry.md is compared with this table in a test.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from application.process_media import Processed
from domain.failure import FailureCode
from domain.lifecycle import TERMINAL, State
from domain.parts import Outcome

OTHER = "other"


class Kind(StrEnum):
    COUNTER = "counter"
    HISTOGRAM = "histogram"
    GAUGE = "gauge"  # the latest value that was set
    OBSERVED = "observed gauge"  # asked for its values when it is scraped


class Role(StrEnum):
    """A process that exposes metrics; `embedded` has all the roles."""

    API = "api"
    WORKER = "worker"
    DISPATCHER = "dispatcher"


Label = tuple[str, ...] | str  # the values, or the sentence that says what bounds them
_ALL = frozenset(Role)
_WORKER = frozenset({Role.WORKER})
_DISPATCHER = frozenset({Role.DISPATCHER})


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Instrument:
    """One row of the table. Units are UCUM: `s`, `By`, or an annotation such as `{photo}`."""

    name: str
    kind: Kind
    unit: str
    meaning: str
    labels: Mapping[str, Label] = field(default_factory=dict[str, Label])
    where: frozenset[Role] = _ALL
    buckets: tuple[float, ...] = ()

    @property
    def prometheus_name(self) -> str:
        """The name on the metrics page, of a histogram without `_bucket`, `_sum`, `_count`."""
        name = self.name.replace(".", "_")
        suffix = {"s": "_seconds", "By": "_bytes"}.get(self.unit, "")
        name = name if name.endswith(suffix) else name + suffix
        return f"{name}_total" if self.kind is Kind.COUNTER else name


_CODES = tuple(code.value for code in FailureCode)
_WAITING = tuple(state.value for state in State if state not in TERMINAL)
_REQUEST_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_STAGE_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
_READY_SECONDS = (
    *(0.1, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0),
    *(30.0, 60.0, 120.0, 300.0, 900.0, 3600.0),
)

# --- what clients see ------------------------------------------------------------------------

HTTP_REQUESTS = Instrument(
    name="http.server.request.duration",
    kind=Kind.HISTOGRAM,
    unit="s",
    meaning="Time to answer HTTP requests.",
    labels={
        "http.route": "the templates of the API's routes, and `unmatched`",
        "http.request.method": ("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"),
        "http.response.status_code": "the status codes the API uses, about 20",
    },
    where=frozenset({Role.API}),
    buckets=_REQUEST_SECONDS,
)
UPLOADS_REQUESTED = Instrument(
    name="pipeline.uploads.requested",
    kind=Kind.COUNTER,
    unit="{photo}",
    meaning="Upload links handed out.",
    where=frozenset({Role.API}),
)
UPLOADS_COMPLETED = Instrument(
    name="pipeline.uploads.completed",
    kind=Kind.COUNTER,
    unit="{photo}",
    meaning="Photos accepted for processing, each counted once.",
    where=frozenset({Role.API}),
)
UPLOADS_EXPIRED = Instrument(
    name="pipeline.uploads.expired",
    kind=Kind.COUNTER,
    unit="{photo}",
    meaning="Uploads that were never completed and were given up.",
    where=_DISPATCHER,
)
DUPLICATES = Instrument(
    name="pipeline.duplicates",
    kind=Kind.COUNTER,
    unit="{duplicate}",
    meaning="Repeated calls and deliveries that were absorbed without an effect.",
    labels={"source": ("complete-upload", "delivery")},
    where=frozenset({Role.API, Role.WORKER}),
)
TIME_TO_READY = Instrument(
    name="pipeline.time_to_ready",
    kind=Kind.HISTOGRAM,
    unit="s",
    meaning="From the client's completion of the upload until the photo is READY.",
    where=_WORKER,
    buckets=_READY_SECONDS,
)

# --- how far behind --------------------------------------------------------------------------

MEDIA_WAITING = Instrument(
    name="pipeline.media.waiting",
    kind=Kind.OBSERVED,
    unit="{photo}",
    meaning="Photos in each non-terminal state; every dispatcher shows the same, so take max().",
    labels={"state": _WAITING},
    where=_DISPATCHER,
)
MEDIA_OLDEST = Instrument(
    name="pipeline.media.oldest_age",
    kind=Kind.OBSERVED,
    unit="s",
    meaning="How long the oldest photo has been in each non-terminal state; 0 if there is none.",
    labels={"state": _WAITING},
    where=_DISPATCHER,
)
OUTBOX_DEPTH = Instrument(
    name="pipeline.outbox.depth",
    kind=Kind.OBSERVED,
    unit="{message}",
    meaning="Messages that are due and not yet confirmed by the broker.",
    where=_DISPATCHER,
)
OUTBOX_OLDEST = Instrument(
    name="pipeline.outbox.oldest_age",
    kind=Kind.OBSERVED,
    unit="s",
    meaning="How long the oldest due message has been waiting for the broker; 0 if none is.",
    where=_DISPATCHER,
)
DEAD_LETTERS_KEPT = Instrument(
    name="pipeline.dead_letters.kept",
    kind=Kind.OBSERVED,
    unit="{message}",
    meaning="Dead letters kept for a human that were neither replayed nor dismissed.",
    where=_DISPATCHER,
)
BACKLOG_AGE = Instrument(
    name="pipeline.backlog.snapshot_age",
    kind=Kind.OBSERVED,
    unit="s",
    meaning="How old the figures above are: they are read from the database in the background.",
    where=_DISPATCHER,
)

# --- what happens to photos ------------------------------------------------------------------

ATTEMPTS = Instrument(
    name="pipeline.attempts",
    kind=Kind.COUNTER,
    unit="{attempt}",
    meaning="Attempts that ended, by how they ended.",
    labels={"outcome": tuple(outcome.value for outcome in Outcome)},
    where=frozenset({Role.WORKER, Role.DISPATCHER}),
)
ATTEMPT_SECONDS = Instrument(
    name="pipeline.attempt.duration",
    kind=Kind.HISTOGRAM,
    unit="s",
    meaning="From the claim of a photo to the end of the attempt, by the database's clock.",
    labels={"outcome": tuple(outcome.value for outcome in Outcome)},
    where=frozenset({Role.WORKER, Role.DISPATCHER}),
    buckets=_STAGE_SECONDS,
)
STAGE_SECONDS = Instrument(
    name="pipeline.stage.duration",
    kind=Kind.HISTOGRAM,
    unit="s",
    meaning="Time of each stage; `render` is the child's whole life, `start` and on its parts.",
    labels={
        "stage": (
            *("download", "render", "upload", "commit"),
            *("start", "header", "admission", "decode", "resize", "encode", "placeholder"),
        )
    },
    where=_WORKER,
    buckets=_STAGE_SECONDS,
)
RETRIES = Instrument(
    name="pipeline.retries",
    kind=Kind.COUNTER,
    unit="{retry}",
    meaning="Photos that will be tried again, by the reason of the attempt that failed.",
    labels={"code": _CODES},
    where=frozenset({Role.WORKER, Role.DISPATCHER}),
)
FAILURES = Instrument(
    name="pipeline.failures",
    kind=Kind.COUNTER,
    unit="{photo}",
    meaning="Photos given up for good, by failure code.",
    labels={"code": _CODES},
    where=frozenset({Role.WORKER, Role.DISPATCHER}),
)
TAKEOVERS = Instrument(
    name="pipeline.lease.takeovers",
    kind=Kind.COUNTER,
    unit="{lease}",
    meaning="Leases whose worker fell silent, by who noticed: another worker or the dispatcher.",
    labels={"by": ("worker", "dispatcher")},
    where=frozenset({Role.WORKER, Role.DISPATCHER}),
)
STALE_RESULTS = Instrument(
    name="pipeline.stale_results",
    kind=Kind.COUNTER,
    unit="{result}",
    meaning="Results thrown away because another worker holds the photo by now.",
    where=_WORKER,
)
CHILDREN_KILLED = Instrument(
    name="pipeline.children.killed",
    kind=Kind.COUNTER,
    unit="{process}",
    meaning="Decoder processes that were ended or died, by reason.",
    labels={"reason": ("decode-timeout", "decode-out-of-memory", "decoder-crashed", "cancelled")},
    where=_WORKER,
)
STORE_BYTES = Instrument(
    name="pipeline.store.transfer",
    kind=Kind.COUNTER,
    unit="By",
    meaning="Bytes of originals read from and of variants written to the object store.",
    labels={"direction": ("in", "out")},
    where=_WORKER,
)

# --- messages --------------------------------------------------------------------------------

PUBLISHED = Instrument(
    name="pipeline.messages.published",
    kind=Kind.COUNTER,
    unit="{message}",
    meaning="Messages sent to the broker, by what it answered.",
    labels={"outcome": ("confirmed", "returned", "unconfirmed")},
    where=_DISPATCHER,
)
PROCESSED = Instrument(
    name="pipeline.messages.processed",
    kind=Kind.COUNTER,
    unit="{message}",
    meaning="Deliveries handled, by what became of them.",
    labels={
        "outcome": (
            *(outcome.value for outcome in Processed),
            *("malformed", "error", "requeued"),
        )
    },
    where=_WORKER,
)
REDELIVERIES = Instrument(
    name="pipeline.messages.redelivered",
    kind=Kind.COUNTER,
    unit="{message}",
    meaning="Deliveries that the broker says it has made before.",
    where=_WORKER,
)
REQUEUED = Instrument(
    name="pipeline.messages.requeued",
    kind=Kind.COUNTER,
    unit="{message}",
    meaning="Messages sent anew because the first was silent for too long.",
    where=_DISPATCHER,
)
DEAD_LETTERS = Instrument(
    name="pipeline.dead_letters",
    kind=Kind.COUNTER,
    unit="{message}",
    meaning="Messages that could not be handled and were kept for a human.",
    where=_DISPATCHER,
)

# --- the machine -----------------------------------------------------------------------------

IN_FLIGHT = Instrument(
    name="pipeline.photos.in_flight",
    kind=Kind.OBSERVED,
    unit="{photo}",
    meaning="Photos this process is working on now.",
    where=_WORKER,
)
POOL_IN_USE = Instrument(
    name="pipeline.pool.in_use",
    kind=Kind.OBSERVED,
    unit="{connection}",
    meaning="Database connections in use.",
)
POOL_SIZE = Instrument(
    name="pipeline.pool.limit",
    kind=Kind.OBSERVED,
    unit="{connection}",
    meaning="Database connections this process may open.",
)
DEPENDENCY_UP = Instrument(
    name="pipeline.dependency.up",
    kind=Kind.GAUGE,
    unit="{dependency}",
    meaning="Whether a server this process needs did its work when last asked (1) or not (0).",
    labels={"dependency": "the servers of the settings: at most one of each port"},
)
BUILD_INFO = Instrument(
    name="pipeline.build.info",
    kind=Kind.OBSERVED,
    unit="{process}",
    meaning="Always 1; the labels name the release.",
    labels={"version": "one a release", "service": "one a process kind"},
)

TABLE: tuple[Instrument, ...] = (
    *(HTTP_REQUESTS, UPLOADS_REQUESTED, UPLOADS_COMPLETED, UPLOADS_EXPIRED, DUPLICATES),
    *(TIME_TO_READY, MEDIA_WAITING, MEDIA_OLDEST, OUTBOX_DEPTH, OUTBOX_OLDEST),
    *(DEAD_LETTERS_KEPT, BACKLOG_AGE, ATTEMPTS, ATTEMPT_SECONDS, STAGE_SECONDS, RETRIES),
    *(FAILURES, TAKEOVERS, STALE_RESULTS, CHILDREN_KILLED, STORE_BYTES, PUBLISHED, PROCESSED),
    *(REDELIVERIES, REQUEUED, DEAD_LETTERS, IN_FLIGHT, POOL_IN_USE, POOL_SIZE, DEPENDENCY_UP),
    BUILD_INFO,
)
