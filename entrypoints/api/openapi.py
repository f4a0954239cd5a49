"""The OpenAPI 3.1 document: schemas from the very types that are encoded, examples from the very
functions that answer. A test holds real answers against it.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from litestar.exceptions import ClientException, MethodNotAllowedException, NotFoundException
from litestar.exceptions.http_exceptions import RequestEntityTooLarge

from adapters.filesystem import errors as store
from application.request_upload import FILE_NAME_MAX, ORIGINAL_EXTENSIONS
from domain import errors
from entrypoints.api import examples
from entrypoints.api.answers import JSON
from entrypoints.api.documents import MediaDocument, UploadTicketDocument
from entrypoints.api.operations import Live, Ready
from entrypoints.api.problem import (
    PROBLEM_JSON,
    TABLE,
    FieldError,
    InvalidRequest,
    MalformedJson,
    NotJson,
    Problem,
    answer_for,
)
from entrypoints.api.readiness import SILENT, NotReady
from entrypoints.api.requests import CompletionRequest, UploadRequest

Json = dict[str, Any]

VERSION = "1.0.0"

_ID = examples.MEDIA_ID
_TYPES: tuple[Any, ...] = (
    UploadRequest,
    CompletionRequest,
    UploadTicketDocument,
    MediaDocument,
    Problem,
    NotReady,
    Ready,
    Live,
)
_HEADERS = {
    "Location": "Where the media is found, or the object.",
    "Retry-After": "Seconds after which to ask again.",
    "Cache-Control": "How long this answer may be kept.",
    "Allow": "The methods of this path.",
    "ETag": "What names these very bytes.",
}
_PROBLEM_HEADERS = {"405": ("Allow",), "503": ("Retry-After",)}
_ON_EVERY_CALL = (
    NotFoundException(),
    MethodNotAllowedException(),
    ClientException("Invalid host header"),
    RuntimeError(),
)
_ON_EVERY_BODY = (
    MalformedJson(),
    RequestEntityTooLarge(),
    NotJson(),
    InvalidRequest(FieldError("filename", "is not known")),
)


def document(*, with_objects: bool) -> bytes:
    """The document, encoded; `with_objects` where this API serves the store's signed links."""
    objects = {"/objects/{key}": {"put": _put_object(), "get": _get_object()}}
    paths: Json = {
        "/upload-url": {"post": _upload_url()},
        "/complete-upload": {"post": _complete_upload()},
        "/media/{media_id}": {"get": _get_media()},
        "/media/{media_id}/variants/{name}": {"get": _get_variant()},
        **(
            {"/objects/{key}": {"put": _put_object(), "get": _get_object()}} if with_objects else {}
        ),
        **_operations(),
    }
    return msgspec.json.encode(
        {
            "openapi": "3.1.0",
            "info": {
                "title": "Image pipeline",
                "version": VERSION,
                "summary": "Upload a photo, get finished variants.",
                "license": {"name": "MIT", "identifier": "MIT"},
            },
            "servers": [{"url": "/"}],
            "paths": {path: _with_head(calls) for path, calls in paths.items()},
            "components": {"schemas": _schemas()},
        }
    )


# --- the calls -------------------------------------------------------------------------------


def _upload_url() -> Json:
    refusals = (
        errors.UnsupportedContentType("image/svg+xml", list(ORIGINAL_EXTENSIONS)),
        errors.InvalidUpload("file_name", f"must be 1 to {FILE_NAME_MAX} characters, no NUL"),
        errors.DatabaseUnavailable(),
    )
    return {
        "operationId": "requestUpload",
        "summary": "Ask for a link to upload a photo to",
        "requestBody": _body(
            UploadRequest,
            {"shortest": examples.upload_request(), "strict": examples.strict_upload_request()},
        ),
        "responses": {
            "201": _answer(
                "The link, and what to send with the PUT",
                UploadTicketDocument,
                {"ticket": examples.ticket()},
                ("Location", "Cache-Control"),
            ),
            **_problems("/upload-url", *_ON_EVERY_BODY, *refusals),
        },
    }


def _complete_upload() -> Json:
    refusals = (
        errors.MediaNotFound(_ID),
        errors.OriginalKeyMismatch(_ID),
        errors.UploadMissing(_ID),
        errors.UploadTooLarge(_ID, examples.MAX_BYTES + 1, examples.MAX_BYTES),
        errors.UploadSizeMismatch(_ID, 17, examples.ORIGINAL_BYTES),
        errors.UploadExpired(_ID),
        errors.StoreUnavailable(),
        errors.DatabaseUnavailable(),
    )
    return {
        "operationId": "completeUpload",
        "summary": "Say that the photo has been uploaded",
        "description": "May be repeated at any time; the photo is processed once.",
        "requestBody": _body(CompletionRequest, {"completion": examples.completion_request()}),
        "responses": {
            "202": _media_answer(
                "Work remains", "UPLOADED", "RETRYING", headers=("Location", "Retry-After")
            ),
            "200": _media_answer("Nothing remains to be done", "READY", headers=("Location",)),
            **_problems("/complete-upload", *_ON_EVERY_BODY, *refusals),
        },
    }


def _get_media() -> Json:
    refusals = (errors.MediaNotFound(_ID), errors.DatabaseUnavailable())
    return {
        "operationId": "getMedia",
        "summary": "Ask where a photo stands",
        "parameters": [_path_parameter("media_id", _ID)],
        "responses": {
            "200": _media_answer(
                "The media; with Retry-After while work remains",
                *examples.media_documents(),
                headers=("Retry-After", "Cache-Control"),
            ),
            **_problems(f"/media/{_ID}", *refusals),
        },
    }


def _get_variant() -> Json:
    refusals = (
        errors.MediaNotFound(_ID),
        errors.VariantNotFound(_ID, "huge"),
        errors.DatabaseUnavailable(),
    )
    return {
        "operationId": "getVariant",
        "summary": "A stable link to a finished variant, for an <img>",
        "parameters": [_path_parameter("media_id", _ID), _path_parameter("name", "large")],
        "responses": {
            "302": {
                "description": "To a freshly signed link",
                "headers": _headers("Location", "Cache-Control"),
            },
            **_problems(f"/media/{_ID}/variants/huge", *refusals),
        },
    }


def _put_object() -> Json:
    key = examples.ORIGINAL_KEY
    refusals = (
        store.SignatureDoesNotMatch(),
        store.LinkExpired(),
        store.LengthRequired(),
        store.AlreadyStored(key),
        store.BodyTooLarge(examples.MAX_BYTES + 1, examples.MAX_BYTES),
        store.BodyIncomplete(17, 18),
        store.ChecksumMismatch(),
        store.InvalidKey("is not valid Unicode"),
        errors.StoreUnavailable(),
    )
    return {
        "operationId": "putObject",
        "summary": "The other end of an upload link",
        "parameters": _link_parameters(),
        "requestBody": {"required": True, "content": {"image/*": {}}},
        "responses": {
            "200": {"description": "Stored, durably"},
            **_problems(f"/objects/{key}", *refusals),
        },
    }


def _get_object() -> Json:
    key = examples.ORIGINAL_KEY
    refusals = (
        store.SignatureDoesNotMatch(),
        store.LinkExpired(),
        store.ObjectNotFound(key),
        store.InvalidKey("is not valid Unicode"),
        errors.StoreUnavailable(),
    )
    return {
        "operationId": "getObject",
        "summary": "The other end of a download link",
        "parameters": _link_parameters(),
        "responses": {
            "200": {
                "description": "The object",
                "headers": _headers("ETag"),
                "content": {"image/*": {}},
            },
            **_problems(f"/objects/{key}", *refusals),
        },
    }


def _operations() -> Json:
    missing = [msgspec.to_builtins(NotReady("database", SILENT))]
    listed = {"type": "array", "items": _reference(NotReady)}
    text: Json = {"description": "Prometheus text", "content": {"text/plain": {}}}
    live = _answer("The process turns", Live, {"live": msgspec.to_builtins(Live())})
    ready = _answer("It can do its work", Ready, {"ready": msgspec.to_builtins(Ready([]))})
    unready: Json = {
        "description": "What is not ready",
        "headers": _headers("Retry-After"),
        "content": {JSON: {"schema": listed, "example": missing}},
    }
    itself: Json = {
        "description": "This document",
        "content": {JSON: {"schema": {"type": "object"}}},
    }
    return {
        "/metrics": _page("getMetrics", "Figures for Prometheus", {"200": text}),
        "/health/live": _page("getLiveness", "Whether the process turns", {"200": live}),
        "/health/ready": _page(
            "getReadiness", "Whether it can do its work", {"200": ready, "503": unready}
        ),
        "/openapi.json": _page("getContract", "This document", {"200": itself}),
    }


def _with_head(calls: Json) -> Json:
    """A path that can be read answers to HEAD too: the same without a body."""
    if "get" not in calls:
        return calls
    get: Json = calls["get"]
    responses: Json = {
        status: {name: value for name, value in answer.items() if name != "content"}
        for status, answer in get["responses"].items()
    }
    head = {**get, "operationId": f"{get['operationId']}Headers", "responses": responses}
    return {**calls, "head": head}


# --- parts of a call -------------------------------------------------------------------------


def _page(name: str, summary: str, responses: Json) -> Json:
    path_problems = {**_problems("/"), **responses}
    return {"get": {"operationId": name, "summary": summary, "responses": path_problems}}


def _media_answer(description: str, *states: str, headers: Sequence[str]) -> Json:
    documents = examples.media_documents()
    shown = {state: documents[state] for state in states}
    return _answer(description, MediaDocument, shown, headers)


def _answer(
    description: str, kind: Any, shown: Mapping[str, Json], headers: Sequence[str] = ()
) -> Json:
    return {
        "description": description,
        **({"headers": _headers(*headers)} if headers else {}),
        "content": {JSON: {"schema": _reference(kind), "examples": _named(shown)}},
    }


def _body(kind: Any, shown: Mapping[str, Json]) -> Json:
    content = {JSON: {"schema": _reference(kind), "examples": _named(shown)}}
    return {"required": True, "content": content}


def _problems(path: str, *refusals: Exception) -> Json:
    """The refusals as answers on `path`, by status; what may happen on every path is added."""
    grouped: dict[str, dict[str, Json]] = {}
    for error in (*refusals, *_ON_EVERY_CALL):
        answer = answer_for(error, path=path, traceparent=examples.TRACEPARENT)
        shown = msgspec.json.decode(answer.body, type=dict[str, Any])
        grouped.setdefault(str(answer.status), {})[shown["code"]] = shown
    return {
        status: {
            "description": " ".join(one["title"] for one in shown.values()),
            "headers": _headers(*_PROBLEM_HEADERS.get(status, ())),
            "content": {PROBLEM_JSON: {"schema": _reference(Problem), "examples": _named(shown)}},
        }
        for status, shown in grouped.items()
    }


def _path_parameter(name: str, example: str) -> Json:
    schema = {"type": "string"}
    return {"name": name, "in": "path", "required": True, "schema": schema, "example": example}


def _link_parameters() -> list[Json]:
    signed = [
        {"name": name, "in": "query", "required": True, "schema": {"type": "string"}}
        for name in ("expires", "headers", "signature")
    ]
    return [_path_parameter("key", examples.ORIGINAL_KEY), *signed]


def _headers(*names: str) -> Json:
    return {name: {"description": _HEADERS[name], "schema": {"type": "string"}} for name in names}


def _named(shown: Mapping[str, Json]) -> Json:
    return {name: {"value": value} for name, value in shown.items()}


def _reference(kind: Any) -> Json:
    return {"$ref": f"#/components/schemas/{kind.__name__}"}


def _schemas() -> Json:
    _, schemas = msgspec.json.schema_components(_TYPES, ref_template="#/components/schemas/{name}")
    codes = sorted({kind.code for kind in TABLE.values()})
    schemas["Problem"]["properties"]["code"]["enum"] = codes
    return schemas
