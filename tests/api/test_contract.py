"""The OpenAPI document, the table of problems, and what browsers of other origins may do."""

from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import msgspec
import pytest

from adapters.filesystem import FilesystemStore, TransferRefused
from domain import errors
from entrypoints.api.answers import Answer
from entrypoints.api.openapi import document
from entrypoints.api.problem import TABLE, answer_for, kind_of
from entrypoints.api.requests import UploadRequest, field_error
from tests.api.client import Api
from tests.api.conformity import Contract, Json
from tests.api.conftest import api_on
from tests.support.builders import NOW
from tests.support.services import Services

pytestmark = pytest.mark.anyio

CONTRACT = Contract(msgspec.json.decode(document(with_objects=True), type=dict[str, Any]))
ORIGIN = {"Origin": "https://shop.example.com"}
PREFLIGHT = {
    **ORIGIN,
    "Access-Control-Request-Method": "PUT",
    "Access-Control-Request-Headers": "content-type, x-amz-checksum-sha256",
}


def contents() -> list[tuple[str, Json]]:
    """Every body that the document describes, and where."""
    return [
        (f"{method} {path} {status}", content)
        for path, calls in CONTRACT.document["paths"].items()
        for method, call in calls.items()
        for status, one in {**call["responses"], "request": call.get("requestBody", {})}.items()
        for content in one.get("content", {}).values()
    ]


def test_each_body_in_the_document_has_examples_that_fit_its_schema() -> None:
    for where, content in contents():
        shown = [one["value"] for one in content.get("examples", {}).values()]
        shown += [content["example"]] if "example" in content else []
        if content and content["schema"] != {"type": "object"}:
            assert shown, f"{where} has no example"
        for example in shown:
            assert CONTRACT.violations(content["schema"], example) == [], where


def test_the_check_of_answers_finds_mistakes() -> None:
    schema = {"$ref": "#/components/schemas/UploadRequest"}

    assert CONTRACT.violations(schema, {"content_type": "image/jpeg"}) == ["$.file_name is missing"]
    assert CONTRACT.violations(schema, {"content_type": 1, "file_name": "a"})
    assert CONTRACT.violations(schema, {"content_type": "image/jpeg", "file_name": "a", "b": 1})


async def test_links_carry_the_parameters_of_the_document(tmp_path: Path) -> None:
    store = FilesystemStore(tmp_path, "http://localhost", b"s" * 32, clock=lambda: NOW, max_bytes=1)
    upload = await store.upload_url(
        "a", content_type="image/jpeg", expires_seconds=1, size=None, sha256=None
    )
    links = {"put": upload.url, "get": await store.download_url("a", expires_seconds=1)}
    for method, url in links.items():
        parameters = CONTRACT.document["paths"]["/objects/{key}"][method]["parameters"]
        described = {one["name"] for one in parameters if one["in"] == "query" and one["required"]}
        assert described == set(parse_qs(urlsplit(url).query)), method


def _below(kind: type[Exception]) -> list[type[Exception]]:
    return [kind, *(one for below in kind.__subclasses__() for one in _below(below))]


def test_every_refusal_of_the_domain_and_of_the_store_has_its_own_entry() -> None:
    parents = {errors.Rejected, TransferRefused}
    kinds = [*_below(errors.Rejected), *errors.Unavailable.__subclasses__()]
    kinds += _below(TransferRefused)
    server_side = {errors.BrokerUnavailable}

    missing = {kind for kind in kinds if kind not in TABLE} - parents - server_side
    assert missing == set()


def test_the_code_of_a_refusal_is_the_one_the_domain_gave_it() -> None:
    for kind in _below(errors.Rejected)[1:]:
        assert issubclass(kind, errors.Rejected)
        assert TABLE[kind].code == kind.code


def test_a_code_means_one_status() -> None:
    assert len({(kind.code, kind.status) for kind in TABLE.values()}) == len(
        {kind.code for kind in TABLE.values()}
    )


def test_an_error_that_nobody_thought_of_is_internal() -> None:
    assert kind_of(errors.IllegalTransition("id", "READY", "expire")).status == 500
    answer = answer_for(KeyError("/etc/passwd"), path="/a b", traceparent=None)
    assert b"passwd" not in answer.body
    assert b'"instance":"/a%20b"' in answer.body


async def test_a_head_is_answered_without_the_body_whatever_the_server_does() -> None:
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        return {"type": "http.disconnect"}

    scope: Any = {"type": "http", "method": "HEAD"}
    await Answer(200, b"a body")(scope, receive, send)

    assert (b"content-length", b"6") in sent[0]["headers"]
    assert sent[1]["body"] == b""


@pytest.mark.parametrize(
    ("body", "field"),
    [(b'{"file_name":1}', "file_name"), (b'{"a`b":1}', "a`b"), (b"3", "body")],
)
def test_the_name_of_a_wrong_field_is_read_from_what_the_decoder_says(
    body: bytes, field: str
) -> None:
    with pytest.raises(msgspec.ValidationError) as caught:
        msgspec.json.decode(body, type=UploadRequest)

    assert field_error(str(caught.value)).field == field


# --- other origins ---------------------------------------------------------------------------


async def test_a_browser_of_any_origin_may_upload(embedded: Api) -> None:
    ticket = await embedded.ticket()
    target = ticket["upload_url"]

    asked = await embedded.send("OPTIONS", target, headers=PREFLIGHT)
    reply = await embedded.send("PUT", target, b"photo", {**ticket["upload_headers"], **ORIGIN})

    assert asked.status == 204
    assert asked.headers["Access-Control-Allow-Origin"] == "*"
    assert "PUT" in asked.headers["Access-Control-Allow-Methods"]
    assert "x-amz-checksum-sha256" in asked.headers["Access-Control-Allow-Headers"]
    assert reply.status == 200
    assert reply.headers["Access-Control-Allow-Origin"] == "*"


async def test_a_script_may_read_errors_and_where_to_look(embedded: Api) -> None:
    reply = await embedded.get("/media/nothing", ORIGIN)

    assert reply.status == 404
    assert reply.headers["Access-Control-Allow-Origin"] == "*"
    assert "Retry-After" in reply.headers["Access-Control-Expose-Headers"]


async def test_only_the_origins_that_were_set_may_call(
    services: Services, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("api")
    async with api_on("memory", services, folder, cors_origins=["https://a.example"]) as api:
        ours = await api.get("/health/live", {"Origin": "https://a.example"})
        other = await api.get("/health/live", {"Origin": "https://b.example"})
        evil = await api.get("/health/live", {"Origin": "https://a.example.evil.example"})
        allowed = await api.send(
            "OPTIONS", "/upload-url", headers={**PREFLIGHT, "Origin": "https://a.example"}
        )
        refused = await api.send("OPTIONS", "/upload-url", headers=PREFLIGHT)

    assert ours.headers["Access-Control-Allow-Origin"] == "https://a.example"
    assert "Access-Control-Allow-Origin" not in other.headers
    assert "Access-Control-Allow-Origin" not in evil.headers
    assert (allowed.status, allowed.headers["Access-Control-Allow-Origin"]) == (
        204,
        "https://a.example",
    )
    assert (refused.status, refused.headers["Content-Type"]) == (403, "application/problem+json")
    assert refused.json()["code"] == "origin-not-allowed"
    assert "Access-Control-Allow-Origin" not in refused.headers
