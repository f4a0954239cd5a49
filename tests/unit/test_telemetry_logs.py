"""Log lines: one for each event, none twice, no secret in any."""

import io
import json
import logging
import time
from collections.abc import Callable, Generator
from typing import Any

import pytest

from adapters.events import bind, get_logger
from adapters.logs import configure_logging
from adapters.logs.redaction import Redactor
from adapters.logs.repeats import KEPT_MAX, REPEATED, Repeats
from adapters.rabbitmq.connection import DRIVER_LOGGERS
from domain.errors import BrokerUnavailable, DatabaseUnavailable

SECRETS = ("pa55word", "minio-secret-key", "AKIAEXAMPLE")
log = get_logger("tests.telemetry")
Lines = Callable[[], list[dict[str, Any]]]


@pytest.fixture(autouse=True)
def restored() -> Generator[None]:
    """The root logger as pytest has set it up."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    root.handlers = []
    yield
    root.handlers, root.level = handlers, level
    logging.captureWarnings(capture=False)


@pytest.fixture
def lines() -> Lines:
    """What has been logged so far, as JSON."""
    stream = io.StringIO()
    configure_logging(
        service="worker",
        json=True,
        level="DEBUG",
        secrets=SECRETS,
        trace_id=lambda: "0af7651916cd43dd8448eb211c80319c",
        stream=stream,
    )
    return lambda: [json.loads(line) for line in stream.getvalue().splitlines()]


def test_an_event_is_one_json_line_with_the_promised_fields(lines: Lines) -> None:
    with bind(media_id="01ABC", worker_id="w-1"):
        log.info("media_state_changed", attempt=2, to="READY")

    (line,) = lines()
    assert line["time"].endswith("Z")
    assert list(line)[1:] == [
        *("level", "event", "service", "media_id", "trace_id", "attempt", "worker_id", "to")
    ]
    assert line["level"] == "info"
    assert line["event"] == "media_state_changed"
    assert line["service"] == "worker"
    assert line["trace_id"] == "0af7651916cd43dd8448eb211c80319c"
    assert (line["media_id"], line["attempt"], line["worker_id"]) == ("01ABC", 2, "w-1")


def test_bound_fields_end_with_their_block(lines: Lines) -> None:
    with bind(media_id="01ABC"):
        with bind(media_id=None, attempt=1):
            log.info("inner")
        logging.getLogger("a.library").warning("of %s", "old")
    log.info("outer")

    inner, library, outer = lines()
    assert "media_id" not in inner
    assert inner["attempt"] == 1
    assert library["event"] == "library_message"
    assert (library["message"], library["logger"]) == ("of old", "a.library")
    assert library["media_id"] == "01ABC"
    assert "media_id" not in outer


def test_an_exception_is_one_line_with_its_cause_and_a_short_stack(lines: Lines) -> None:
    def connect() -> None:
        raise OSError("connection refused by 10.0.0.1")

    def query() -> None:
        try:
            connect()
        except OSError as error:
            raise DatabaseUnavailable("the database did not answer") from error

    try:
        query()
    except DatabaseUnavailable as error:
        log.error("round_failed", error=error)

    (line,) = lines()
    assert line["error_type"] == "DatabaseUnavailable"
    assert line["error"] == "the database did not answer"
    assert line["causes"] == ["OSError: connection refused by 10.0.0.1"]
    assert [frame.rpartition(" ")[2] for frame in line["stack"]][-1] == "query"


SECRET_TEXTS = [
    "GET https://store.example/b/k?X-Amz-Signature=abcdef0123&X-Amz-Credential=AKIAEXAMPLE",
    "postgresql://pipeline:pa55word@db:5432/pipeline",
    "amqp://guest:hunter22@broker//",
    "connect failed: password=hunter22 host=db",
    "secret_key: 'hunter22'",
    '{"authorization": "Bearer hunter22hunter22"}',
    "Authorization: Basic aHVudGVyMjI6eA==",
    "the key minio-secret-key was refused",
    "http://localhost:8080/files/media/1/original.jpg?expires=1&signature=hunter22",
    "X-Amz-Security-Token=hunter22",
    "MINIO_SECRET_KEY=hunter22",
]
FORBIDDEN = ("hunter22", "pa55word", "minio-secret", "AKIA", "abcdef0123", "aHVudGVy", "signature=")


def test_no_secret_is_in_any_line(lines: Lines) -> None:
    for number, text in enumerate(SECRET_TEXTS):
        log.info("event", text=text, nested={"list": [text], "password": "hunter22"})
        log.warning(text)
        log.error("failed", error=BrokerUnavailable(text), code=number)
        logging.getLogger("a.library").info("%s", text)
    log.info(
        "event", upload_url="hunter22", secret_key="hunter22", aws_secret_access_key="hunter22"
    )

    everything = json.dumps(lines())
    assert len(lines()) == 4 * len(SECRET_TEXTS) + 1
    assert [word for word in FORBIDDEN if word.lower() in everything.lower()] == []


def test_bytes_are_counted_and_long_texts_cut(lines: Lines) -> None:
    log.info("event", body=b"\xff\xd8client bytes", text="x" * 5000, number=1.5, nothing=None)

    (line,) = lines()
    assert line["body"] == "<14 bytes>"
    assert len(line["text"]) == 1001
    assert line["number"] == 1.5
    assert "nothing" not in line


@pytest.mark.parametrize("piece", ["a", "a.", "a://", "a://b/", "http://a:b"])
def test_a_line_of_the_worst_shape_holds_nobody_up(piece: str) -> None:
    text = piece * (3990 // len(piece))
    began = time.perf_counter()
    Redactor().text(f"{text} :")
    assert time.perf_counter() - began < 0.05


def test_what_is_no_secret_stays() -> None:
    redactor = Redactor(["abc"])
    for text in (
        "media/01ABC/3/large.webp",
        "the signature does not match",
        "http://localhost:9000/health",
        "token 3 of lease",
        "abc is too short to be a secret",
    ):
        assert redactor.text(text) == text
    assert redactor.field("token", 3) == 3


def test_the_coloured_line_cannot_be_forged(capsys: pytest.CaptureFixture[str]) -> None:
    stream = io.StringIO()
    configure_logging(service="api", json=False, stream=stream)
    log.info("event", name="evil\n12:00 ERROR forged\x1b[2J", plain="word")

    assert stream.getvalue().count("\n") == 1
    assert "\x1b" not in stream.getvalue()
    assert 'name="evil 12:00 ERROR forged [2J"' in stream.getvalue()
    assert "plain=word" in stream.getvalue()
    assert capsys.readouterr().out == ""


def test_a_terminal_gets_colours_and_a_pipe_gets_json() -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal, pipe = Terminal(), io.StringIO()
    configure_logging(service="api", stream=terminal)
    log.info("event")
    configure_logging(service="api", stream=pipe)
    log.info("event")
    assert "\x1b[" in terminal.getvalue()
    assert terminal.getvalue().count("\n") == 1
    assert json.loads(pipe.getvalue())["event"] == "event"


# --- repetition ------------------------------------------------------------------------------


def record(
    event: str, at: float, level: int = logging.WARNING, error: Exception | None = None
) -> logging.LogRecord:
    exc_info = (type(error), error, None) if error else None
    made = logging.LogRecord("loop", level, "x.py", 1, event, None, exc_info)
    made.created = at
    made.event_fields = {"loop": "relay"}
    return made


def shown(lines: list[logging.LogRecord]) -> list[tuple[str, int | None]]:
    """Event and count of each line."""
    return [(line.msg, vars(line).get(REPEATED)) for line in lines]


def test_the_same_error_is_shown_once_and_then_counted() -> None:
    repeats = Repeats(every_seconds=30)
    down = BrokerUnavailable("no answer")
    first = repeats.admit(record("failed", 0, error=down))
    rest = [line for at in range(1, 30) for line in repeats.admit(record("failed", at, error=down))]
    thirtieth = repeats.admit(record("failed", 30, error=down))
    assert shown(first) == [("failed", None)]
    assert rest == []
    assert shown(thirtieth) == [("failed", 30)]


def test_another_error_is_not_the_same() -> None:
    repeats = Repeats()
    admitted = [
        *repeats.admit(record("failed", 0, error=BrokerUnavailable("a"))),
        *repeats.admit(record("failed", 0, error=DatabaseUnavailable("a"))),
        *repeats.admit(record("failed", 0)),
        *repeats.admit(record("crashed", 0)),
        *repeats.admit(record("failed", 0, level=logging.ERROR)),
    ]
    assert len(admitted) == 5


def test_an_error_that_has_ended_leaves_its_count_before_the_next_line() -> None:
    repeats = Repeats(every_seconds=30)
    for at in range(5):
        repeats.admit(record("failed", at))
    assert shown(repeats.admit(record("fine", 10, logging.INFO))) == [("fine", None)]
    assert shown(repeats.admit(record("fine", 40, logging.INFO))) == [("failed", 4), ("fine", None)]
    assert shown(repeats.admit(record("failed", 41))) == [("failed", None)]


def test_counts_are_not_lost_at_the_end_nor_in_a_crowd() -> None:
    repeats = Repeats()
    repeats.admit(record("failed", 0))
    repeats.admit(record("failed", 1))
    assert shown(repeats.drain()) == [("failed", 1)]
    assert repeats.drain() == []

    repeats.admit(record("failed", 2))
    repeats.admit(record("failed", 2))
    crowd = [line for n in range(KEPT_MAX) for line in repeats.admit(record(f"e{n}", 3))]
    assert ("failed", 1) in shown(crowd)


def test_information_is_never_withheld() -> None:
    repeats = Repeats()
    assert all(repeats.admit(record("tick", 0, logging.INFO)) for _ in range(10))


def test_a_repeated_line_of_a_library_is_told_as_the_first_was(lines: Lines) -> None:
    for _ in range(3):
        logging.getLogger("a.library").warning("no answer")
    for handler in logging.getLogger().handlers:
        handler.close()
    first, last = lines()
    assert last.pop("repeated") == 2
    assert {**last, "time": ""} == {**first, "time": ""}


@pytest.mark.parametrize("driver", DRIVER_LOGGERS)
def test_failed_tries_of_the_broker_s_driver_are_told_by_us_alone(
    lines: Lines, driver: str
) -> None:
    logging.getLogger(f"{driver}.connection").error("error when creating transport")
    assert lines() == []


def test_a_thousand_repeated_errors_are_two_lines(lines: Lines) -> None:
    for _ in range(1000):
        log.warning("broker_unavailable", error=BrokerUnavailable("no answer"))
    for handler in logging.getLogger().handlers:
        handler.close()
    first, last = lines()
    assert "repeated" not in first
    assert last["repeated"] == 999
