"""What clients send: the two request bodies, and how a body becomes one of them.

The types check shape only, so that a wrong field is named; what the values may be is decided by
the use cases.
"""

import re
from collections.abc import AsyncIterator
from typing import Annotated, Any, TypeVar

import msgspec
from litestar import Request
from litestar.exceptions import InternalServerException
from msgspec import Meta

from application.request_upload import FILE_NAME_MAX, ORIGINAL_EXTENSIONS
from entrypoints.api.problem import ClientGone, FieldError, InvalidRequest, MalformedJson, NotJson

BODY_BYTES_MAX = 64 * 1024

T = TypeVar("T")
AnyRequest = Request[Any, Any, Any]


class UploadRequest(msgspec.Struct, forbid_unknown_fields=True):
    """A photo that a client wants to upload."""

    content_type: Annotated[
        str,
        Meta(
            description="The type of the photo.",
            extra_json_schema={"enum": list(ORIGINAL_EXTENSIONS)},
        ),
    ]
    file_name: Annotated[
        str,
        Meta(
            description="Kept as a label only, never part of a key.",
            extra_json_schema={"minLength": 1, "maxLength": FILE_NAME_MAX},
        ),
    ]
    size_bytes: Annotated[
        int | None,
        Meta(description="If given, an upload of any other length is refused."),
    ] = None
    checksum_sha256: Annotated[
        str | None,
        Meta(
            description="Base64 of the SHA-256 digest. If given, an upload of any other bytes is "
            "refused, and so is a second one."
        ),
    ] = None


class CompletionRequest(msgspec.Struct, forbid_unknown_fields=True):
    """A photo that has been uploaded."""

    media_id: Annotated[str, Meta(description="As answered by POST /upload-url.")]
    original_key: Annotated[str, Meta(description="As answered by POST /upload-url.")]


async def read_json(request: AnyRequest, decoder: msgspec.json.Decoder[T]) -> T:
    """The body as the decoder's type; a missing Content-Type is taken for JSON."""
    _check_declared_type(request.headers.get("content-type", ""))
    try:
        body = await request.body()
    except InternalServerException as error:
        raise ClientGone("the client hung up while sending its body") from error
    try:
        return decoder.decode(body)
    except msgspec.ValidationError as error:
        _check_json(body)
        raise InvalidRequest(field_error(str(error))) from error
    except (ValueError, RecursionError) as error:
        raise MalformedJson("the body is not JSON") from error


def _check_json(body: bytes) -> None:
    """The typed decoder stops at the first wrong field and has not seen the rest."""
    try:
        msgspec.json.decode(body)
    except (ValueError, RecursionError) as error:
        raise MalformedJson("the body is not JSON") from error


async def body_chunks(request: AnyRequest) -> AsyncIterator[bytes]:
    """The body as it arrives, without a limit: for receivers that have their own."""
    while True:
        message = await request.receive()
        if message["type"] != "http.request":
            raise ClientGone("the client hung up while sending its body")
        if message["body"]:
            yield message["body"]
        if not message["more_body"]:
            return


def _check_declared_type(value: str) -> None:
    declared = value.partition(";")[0].strip().lower()
    if declared not in {"", "application/json"} and not declared.endswith("+json"):
        raise NotJson(f"the body is declared as {declared!r}")


_AT = re.compile(r"(?P<message>.*) - at `\$\.(?P<field>[^`.\[]+)[^`]*`")
_OF_OBJECT = re.compile(r"Object (?P<what>missing required|contains unknown) field `(?P<field>.*)`")
_WHAT = {"missing required": "is required", "contains unknown": "is not known"}


def field_error(message: str) -> FieldError:
    """The sentence of msgspec, taken apart: it names one field, or means the body as a whole."""
    if found := _OF_OBJECT.fullmatch(message):
        return FieldError(found["field"], _WHAT[found["what"]])
    if found := _AT.fullmatch(message):
        return FieldError(found["field"], found["message"])
    return FieldError("body", message)
