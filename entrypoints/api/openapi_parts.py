"""What an operation of the OpenAPI document is put together from."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from litestar.exceptions import ClientException, MethodNotAllowedException, NotFoundException

from entrypoints.api import examples
from entrypoints.api.answers import JSON
from entrypoints.api.documents import MediaDocument
from entrypoints.api.problem import PROBLEM_JSON, Problem, answer_for

Json = dict[str, Any]

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


def page(name: str, summary: str, responses: Json) -> Json:
    every = {**problems("/"), **responses}
    return {"get": {"operationId": name, "summary": summary, "responses": every}}


def media_answer(description: str, *states: str, headers: Sequence[str]) -> Json:
    documents = examples.media_documents()
    shown = {state: documents[state] for state in states}
    return answer(description, MediaDocument, shown, headers)


def answer(
    description: str, kind: Any, shown: Mapping[str, Json], headers: Sequence[str] = ()
) -> Json:
    return {
        "description": description,
        **({"headers": header_objects(*headers)} if headers else {}),
        "content": {JSON: {"schema": reference(kind), "examples": _named(shown)}},
    }


def body(kind: Any, shown: Mapping[str, Json]) -> Json:
    content = {JSON: {"schema": reference(kind), "examples": _named(shown)}}
    return {"required": True, "content": content}


def problems(path: str, *refusals: Exception) -> Json:
    """The refusals as answers on `path`, by status; what may happen on every path is added."""
    grouped: dict[str, dict[str, Json]] = {}
    for error in (*refusals, *_ON_EVERY_CALL):
        refusal = answer_for(error, path=path, traceparent=examples.TRACEPARENT)
        shown = msgspec.json.decode(refusal.body, type=dict[str, Any])
        grouped.setdefault(str(refusal.status), {})[shown["code"]] = shown
    return {
        status: {
            "description": " ".join(one["title"] for one in shown.values()),
            "headers": header_objects(*_PROBLEM_HEADERS.get(status, ())),
            "content": {PROBLEM_JSON: {"schema": reference(Problem), "examples": _named(shown)}},
        }
        for status, shown in grouped.items()
    }


def path_parameter(name: str, example: str) -> Json:
    schema = {"type": "string"}
    return {"name": name, "in": "path", "required": True, "schema": schema, "example": example}


def link_parameters(*names: str) -> list[Json]:
    signed = [
        {"name": name, "in": "query", "required": True, "schema": {"type": "string"}}
        for name in names
    ]
    return [path_parameter("key", examples.ORIGINAL_KEY), *signed]


def header_objects(*names: str) -> Json:
    return {name: {"description": _HEADERS[name], "schema": {"type": "string"}} for name in names}


def _named(shown: Mapping[str, Json]) -> Json:
    return {name: {"value": value} for name, value in shown.items()}


def reference(kind: Any) -> Json:
    return {"$ref": f"#/components/schemas/{kind.__name__}"}
