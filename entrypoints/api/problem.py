"""Errors as problem documents (RFC 9457), and the one table that says which error is which.

`type` is a URN that ends in the code: stable, and nobody is led to look for a page behind it.
What a client reads are our own words: the text of a `Rejected`, which names ids only, or a fixed
sentence. The text of any other error, a driver's above all, stays in the log.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import msgspec
from litestar import Request, Response
from litestar.exceptions import (
    ClientException,
    HTTPException,
    MethodNotAllowedException,
    NotFoundException,
)
from litestar.exceptions.http_exceptions import RequestEntityTooLarge

from adapters.events import get_logger
from adapters.filesystem import errors as store
from application.messages import trace_id_of
from domain import errors
from entrypoints.api.answers import Answer

PROBLEM_JSON = "application/problem+json"
TYPE_PREFIX = "urn:image-pipeline:problem:"
RETRY_SECONDS = 2

_log = get_logger(__name__)
_encode = msgspec.json.Encoder().encode


class FieldError(msgspec.Struct):
    """`field` is the name in the request body; `body` stands for the body as a whole."""

    field: str
    message: str


class Problem(msgspec.Struct, omit_defaults=True, kw_only=True):
    """An error. `errors` is there for a 422 on a body, `trace_id` for a 500."""

    type: str
    title: str
    status: int
    detail: str
    instance: str
    code: str
    errors: list[FieldError] | msgspec.UnsetType = msgspec.UNSET
    trace_id: str | msgspec.UnsetType | None = msgspec.UNSET


class MalformedJson(errors.PipelineError):
    """The body is not JSON."""


class NotJson(errors.PipelineError):
    """The body is declared to be something else than JSON."""


class ClientGone(errors.PipelineError):
    """The client hung up before its body was complete; nobody reads the answer."""


class ForeignOrigin(errors.PipelineError):
    """A browser asks whether a script of an origin that is not listed may call."""


class InvalidRequest(errors.PipelineError):
    """The body is JSON of another shape; `errors` names the fields."""

    def __init__(self, *found: FieldError) -> None:
        super().__init__("; ".join(f"{error.field}: {error.message}" for error in found))
        self.errors = list(found)


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of problem. Without `detail` the error's own text is the detail."""

    code: str
    status: int
    title: str
    detail: str | None = None
    retry: bool = False


_BROKEN = "Something unexpected went wrong on our side; it is logged under the trace_id."
_OUTAGE = "Nothing is wrong with the request; repeat it later."
DEFECT = Kind("internal-error", 500, "Internal error.", _BROKEN)

TABLE: dict[type[BaseException], Kind] = {
    # What the client must change.
    errors.MediaNotFound: Kind("media-not-found", 404, "There is no such media."),
    errors.VariantNotFound: Kind("variant-not-found", 404, "There is no such variant."),
    errors.LetterNotFound: Kind("letter-not-found", 404, "There is no such dead letter."),
    errors.UploadMissing: Kind("upload-missing", 409, "Nothing has been uploaded yet."),
    errors.UploadExpired: Kind("upload-expired", 410, "The upload was not completed in time."),
    errors.UnsupportedContentType: Kind(
        "unsupported-content-type", 422, "This type of image is not supported."
    ),
    errors.InvalidUpload: Kind("invalid-request", 422, "The request is not valid."),
    InvalidRequest: Kind("invalid-request", 422, "The request is not valid."),
    errors.OriginalKeyMismatch: Kind(
        "original-key-mismatch", 422, "The key is not that of this media."
    ),
    errors.UploadTooLarge: Kind("upload-too-large", 422, "The uploaded file is too large."),
    errors.UploadSizeMismatch: Kind(
        "upload-size-mismatch", 422, "The uploaded file has another size than declared."
    ),
    MalformedJson: Kind(
        "malformed-json", 400, "The body is not JSON.", "Send a JSON object, encoded as UTF-8."
    ),
    NotJson: Kind(
        "unsupported-media-type",
        415,
        "The body is not declared as JSON.",
        "Send JSON with the header Content-Type: application/json.",
    ),
    ClientGone: Kind("client-gone", 400, "The body ended too early.", "Send the whole body."),
    ForeignOrigin: Kind(
        "origin-not-allowed",
        403,
        "Scripts of this origin may not call.",
        "The operator lists the origins that may (CORS_ORIGINS).",
    ),
    # What the store of the embedded set refuses.
    store.SignatureDoesNotMatch: Kind("signature-mismatch", 403, "The link is not valid."),
    store.LinkExpired: Kind("link-expired", 403, "The link has expired."),
    store.ObjectNotFound: Kind("object-not-found", 404, "There is no such object."),
    store.LengthRequired: Kind("length-required", 411, "The length of the body is missing."),
    store.AlreadyStored: Kind("already-uploaded", 412, "This upload can be made once only."),
    store.BodyTooLarge: Kind("body-too-large", 413, "The body is too large."),
    store.ChecksumMismatch: Kind("checksum-mismatch", 400, "The body has another checksum."),
    store.BodyIncomplete: Kind("body-incomplete", 400, "The body has another length."),
    store.InvalidKey: Kind("invalid-key", 400, "No object can have this key."),
    # What the framework says.
    NotFoundException: Kind("not-found", 404, "There is nothing here.", "No such path."),
    MethodNotAllowedException: Kind(
        "method-not-allowed",
        405,
        "This method is not allowed here.",
        "The header Allow lists the methods of this path.",
    ),
    RequestEntityTooLarge: Kind(
        "body-too-large", 413, "The body is too large.", "A JSON body may have at most 64 KiB."
    ),
    ClientException: Kind("bad-request", 400, "The request is not valid HTTP for this server."),
    # What may be gone in a moment.
    errors.DatabaseUnavailable: Kind(
        "database-unavailable", 503, "The database does not answer.", _OUTAGE, retry=True
    ),
    errors.Conflict: Kind(
        "database-unavailable", 503, "The database is too busy.", _OUTAGE, retry=True
    ),
    errors.StoreUnavailable: Kind(
        "storage-unavailable", 503, "The object store does not answer.", _OUTAGE, retry=True
    ),
    errors.Unavailable: Kind(
        "service-unavailable", 503, "A server does not answer.", _OUTAGE, retry=True
    ),
    Exception: DEFECT,
}


# The field of the body that is about what the client must change.
_FIELDS: dict[type[Exception], str] = {
    errors.OriginalKeyMismatch: "original_key",
    errors.UploadTooLarge: "original_key",
    errors.UploadSizeMismatch: "original_key",
}


def kind_of(error: Exception) -> Kind:
    """The entry of the nearest class of the error that the table knows."""
    return next(TABLE[kind] for kind in type(error).__mro__ if kind in TABLE)


def answer_for(error: Exception, *, path: str, traceparent: str | None) -> Answer:
    """The problem document for an error on `path`."""
    kind = kind_of(error)
    problem = Problem(
        type=TYPE_PREFIX + kind.code,
        title=kind.title,
        status=kind.status,
        detail=_detail(kind, error),
        instance=quote(path),
        code=kind.code,
        errors=_field_errors(error),
        trace_id=trace_id_of(traceparent) if kind is DEFECT else msgspec.UNSET,
    )
    return Answer(kind.status, _encode(problem), PROBLEM_JSON, _headers(kind, error))


def exception_handler(
    current_traceparent: Callable[[], str | None],
) -> Callable[[Request[Any, Any, Any], Exception], Response[bytes]]:
    """What the framework calls with every error, its own included."""

    def handle(request: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
        path = request.scope["path"]
        answer = answer_for(error, path=path, traceparent=current_traceparent())
        if kind_of(error) is DEFECT:
            _log.error("request_failed", error=error, method=request.method, path=path)
        return Response(
            answer.body,
            status_code=answer.status,
            media_type=answer.content_type,
            headers=dict(answer.headers),
        )

    return handle


def _detail(kind: Kind, error: Exception) -> str:
    if kind.detail is not None:
        return kind.detail
    text = error.detail if isinstance(error, HTTPException) else str(error)
    return f"{text[:1].upper()}{text[1:]}."


def _field_errors(error: Exception) -> list[FieldError] | msgspec.UnsetType:
    if isinstance(error, InvalidRequest):
        return error.errors
    if isinstance(error, errors.InvalidUpload):
        return [FieldError(error.field, str(error))]
    field = _FIELDS.get(type(error))
    if field is not None:
        return [FieldError(field, str(error))]
    return msgspec.UNSET


def _headers(kind: Kind, error: Exception) -> Mapping[str, str]:
    headers = {"Cache-Control": "no-store"}
    if kind.retry:
        headers["Retry-After"] = str(RETRY_SECONDS)
    if isinstance(error, MethodNotAllowedException):
        headers |= error.headers or {}
    return headers
