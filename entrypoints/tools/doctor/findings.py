"""What a check says, and what errors of the network mean."""

import socket
from collections.abc import AsyncGenerator, Iterator
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from urllib.parse import urlsplit

SKEW_WARNING = timedelta(seconds=5)
SKEW_FAILURE = timedelta(seconds=60)
_PORTS = {"postgresql": 5432, "postgres": 5432, "amqp": 5672, "amqps": 5671, "http": 80}


class Mark(StrEnum):
    """WARNING: it works, but not as it could. Only FAILED ends with exit code 1."""

    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Finding:
    """One line: a full sentence, and another that says how to mend it."""

    check: str
    mark: Mark
    sentence: str
    remedy: str = ""


Findings = AsyncGenerator[Finding, None]


def ok(check: str, sentence: str) -> Finding:
    return Finding(check, Mark.OK, sentence)


def warning(check: str, sentence: str, remedy: str) -> Finding:
    return Finding(check, Mark.WARNING, sentence, remedy)


def failed(check: str, sentence: str, remedy: str) -> Finding:
    return Finding(check, Mark.FAILED, sentence, remedy)


def address(url: str) -> str:
    """Host and port, without the password that may stand before them."""
    parts = urlsplit(url)
    return f"{parts.hostname}:{parts.port or _PORTS.get(parts.scheme, 443)}"


def unreachable(check: str, error: BaseException, url: str, setting: str) -> Finding | None:
    """The finding if the network is the reason; None if a server has answered."""
    for cause in causes(error):
        if isinstance(cause, socket.gaierror):
            host = urlsplit(url).hostname
            sentence = f"The host name {host} is not known here."
            return failed(check, sentence, f"Correct the host in {setting}, or the name service.")
        if isinstance(cause, ConnectionRefusedError) or "refused" in str(cause).lower():
            sentence = f"Nobody listens at {address(url)}."
            return failed(check, sentence, f"Start the server, or correct {setting}.")
        if isinstance(cause, TimeoutError):
            sentence = f"There is no answer from {address(url)} within the time limit."
            return failed(check, sentence, f"Look for a firewall in between; check {setting}.")
    return None


def causes(error: BaseException) -> Iterator[BaseException]:
    """The error and what led to it, the latest first."""
    current: BaseException | None = error
    while current is not None:
        yield current
        inner = getattr(current, "os_error", None)
        if isinstance(inner, BaseException):
            yield inner
        current = current.__cause__ or current.__context__


def clock_finding(check: str, whose: str, skew: timedelta, consequence: str) -> Finding:
    """`skew` is how far that clock is ahead of ours."""
    size = abs(skew)
    seconds = f"{size.total_seconds():.1f} s"
    if size <= SKEW_WARNING:
        return ok(check, f"The clock of {whose} and ours agree within {seconds}.")
    direction = "ahead of" if skew > timedelta() else "behind"
    sentence = f"The clock of {whose} is {seconds} {direction} ours."
    make = failed if size > SKEW_FAILURE else warning
    return make(check, sentence, f"{consequence} Synchronise both with NTP.")
