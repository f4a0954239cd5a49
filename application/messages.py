"""The versioned message between dispatcher and worker.

A message carries ids and trace context only: what to do is read from the database, so a message
can be late, doubled or lost without making anything untrue.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

from domain.errors import MalformedMessage

VERSION = 1
BODY_BYTES_MAX = 4096
TRACEPARENT = "traceparent"
_TRACEPARENT = re.compile(r"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")
_MEDIA_ID = re.compile(r"[0-9A-HJKMNP-TV-Z]{26}")


@dataclass(frozen=True, slots=True)
class ProcessRequest:
    """Process this media. `token` is the media's lease token when the request was written."""

    media_id: str
    token: int
    traceparent: str | None = None


def encode(request: ProcessRequest) -> tuple[bytes, dict[str, str]]:
    """Body and headers of the message."""
    body = {"version": VERSION, "media_id": request.media_id, "token": request.token}
    headers = {TRACEPARENT: request.traceparent} if request.traceparent else {}
    return json.dumps(body, separators=(",", ":")).encode(), headers


def decode(body: bytes, headers: Mapping[str, str]) -> ProcessRequest:
    """The request in a message; raises MalformedMessage with a sentence that says what is wrong.

    A trace header that is not well-formed is dropped: it is no reason to lose a photo.
    """
    fields = _parse(body)
    version = fields.get("version")
    if version != VERSION:
        raise MalformedMessage(f"message version {version!r} is unknown; this release knows 1")
    media_id, token = fields.get("media_id"), fields.get("token")
    if not isinstance(media_id, str) or not _MEDIA_ID.fullmatch(media_id):
        raise MalformedMessage("the message names no media_id of ours")
    if not isinstance(token, int) or isinstance(token, bool) or token < 0:
        raise MalformedMessage(f"the message for media {media_id} has no valid token")
    return ProcessRequest(media_id, token, valid_traceparent(headers.get(TRACEPARENT)))


def valid_traceparent(value: str | None) -> str | None:
    """`value` if it is a W3C traceparent of version 00, else None."""
    return value if value is not None and _TRACEPARENT.fullmatch(value) else None


def trace_id_of(traceparent: str | None) -> str | None:
    """The trace id in a traceparent, 32 hex digits; None if there is none or it is malformed."""
    valid = valid_traceparent(traceparent)
    return valid.split("-")[1] if valid else None


def _parse(body: bytes) -> dict[str, Any]:
    if len(body) > BODY_BYTES_MAX:
        raise MalformedMessage(f"the message is longer than {BODY_BYTES_MAX} bytes")
    try:
        fields = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise MalformedMessage("the message is not JSON") from error
    if not isinstance(fields, dict):
        raise MalformedMessage("the message is not a JSON object")
    return cast("dict[str, Any]", fields)
