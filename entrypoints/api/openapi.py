"""The OpenAPI 3.1 document: schemas from the very types that are encoded, examples from the very
functions that answer. A test holds real answers against it.
"""

from typing import Any

import msgspec
from litestar.exceptions.http_exceptions import RequestEntityTooLarge

from adapters.filesystem import errors as store
from application.request_upload import FILE_NAME_MAX, ORIGINAL_EXTENSIONS
from domain import errors
from entrypoints.api import examples
from entrypoints.api.answers import JSON
from entrypoints.api.documents import MediaDocument, UploadTicketDocument
from entrypoints.api.openapi_parts import (
    Json,
    answer,
    body,
    header_objects,
    link_parameters,
    media_answer,
    page,
    path_parameter,
    problems,
    reference,
)
from entrypoints.api.operations import Live, Ready
from entrypoints.api.problem import (
    TABLE,
    FieldError,
    InvalidRequest,
    MalformedJson,
    NotJson,
    Problem,
)
from entrypoints.api.readiness import SILENT, NotReady
from entrypoints.api.requests import CompletionRequest, UploadRequest

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
        **(objects if with_objects else {}),
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
        "requestBody": body(
            UploadRequest,
            {"shortest": examples.upload_request(), "strict": examples.strict_upload_request()},
        ),
        "responses": {
            "201": answer(
                "The link, and what to send with the PUT",
                UploadTicketDocument,
                {"ticket": examples.ticket()},
                ("Location", "Cache-Control"),
            ),
            **problems("/upload-url", *_ON_EVERY_BODY, *refusals),
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
        "requestBody": body(CompletionRequest, {"completion": examples.completion_request()}),
        "responses": {
            "202": media_answer(
                "Work remains", "UPLOADED", "RETRYING", headers=("Location", "Retry-After")
            ),
            "200": media_answer("Nothing remains to be done", "READY", headers=("Location",)),
            **problems("/complete-upload", *_ON_EVERY_BODY, *refusals),
        },
    }


def _get_media() -> Json:
    refusals = (errors.MediaNotFound(_ID), errors.DatabaseUnavailable())
    return {
        "operationId": "getMedia",
        "summary": "Ask where a photo stands",
        "parameters": [path_parameter("media_id", _ID)],
        "responses": {
            "200": media_answer(
                "The media; with Retry-After while work remains",
                *examples.media_documents(),
                headers=("Retry-After", "Cache-Control"),
            ),
            **problems(f"/media/{_ID}", *refusals),
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
        "parameters": [path_parameter("media_id", _ID), path_parameter("name", "large")],
        "responses": {
            "302": {
                "description": "To a freshly signed link",
                "headers": header_objects("Location", "Cache-Control"),
            },
            **problems(f"/media/{_ID}/variants/huge", *refusals),
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
        "parameters": link_parameters("expires", "headers", "signature"),
        "requestBody": {"required": True, "content": {"image/*": {}}},
        "responses": {
            "200": {"description": "Stored, durably"},
            **problems(f"/objects/{key}", *refusals),
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
        "parameters": link_parameters("expires", "signature"),
        "responses": {
            "200": {
                "description": "The object",
                "headers": header_objects("ETag"),
                "content": {"image/*": {}},
            },
            **problems(f"/objects/{key}", *refusals),
        },
    }


def _operations() -> Json:
    missing = [msgspec.to_builtins(NotReady("database", SILENT))]
    listed = {"type": "array", "items": reference(NotReady)}
    text: Json = {"description": "Prometheus text", "content": {"text/plain": {}}}
    live = answer("The process turns", Live, {"live": msgspec.to_builtins(Live())})
    ready = answer("It can do its work", Ready, {"ready": msgspec.to_builtins(Ready([]))})
    unready: Json = {
        "description": "What is not ready",
        "headers": header_objects("Retry-After"),
        "content": {JSON: {"schema": listed, "example": missing}},
    }
    itself: Json = {
        "description": "This document",
        "content": {JSON: {"schema": {"type": "object"}}},
    }
    return {
        "/metrics": page("getMetrics", "Figures for Prometheus", {"200": text}),
        "/health/live": page("getLiveness", "Whether the process turns", {"200": live}),
        "/health/ready": page(
            "getReadiness", "Whether it can do its work", {"200": ready, "503": unready}
        ),
        "/openapi.json": page("getContract", "This document", {"200": itself}),
    }


def _with_head(calls: Json) -> Json:
    """A path that can be read answers to HEAD too: the same without a body."""
    if "get" not in calls:
        return calls
    get: Json = calls["get"]
    responses: Json = {
        status: {name: value for name, value in one.items() if name != "content"}
        for status, one in get["responses"].items()
    }
    head = {**get, "operationId": f"{get['operationId']}Headers", "responses": responses}
    return {**calls, "head": head}


def _schemas() -> Json:
    _, schemas = msgspec.json.schema_components(_TYPES, ref_template="#/components/schemas/{name}")
    codes = sorted({kind.code for kind in TABLE.values()})
    schemas["Problem"]["properties"]["code"]["enum"] = codes
    return schemas
