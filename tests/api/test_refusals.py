"""Every refusal of the contract, alike on each set."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from application.request_upload import ORIGINAL_EXTENSIONS
from domain.errors import DatabaseUnavailable, StoreUnavailable
from domain.lifecycle import State
from tests.api.client import JPEG, Api, assert_problem
from tests.api.conftest import MAX_BYTES
from tests.support import builders
from tests.support.builders import TRACEPARENT

pytestmark = pytest.mark.anyio

UNKNOWN = builders.ulid(404_404)
SHA256 = "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="


# --- POST /upload-url ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"content_type": "image/jpeg"}, "file_name"),
        ({"file_name": "test.jpg"}, "content_type"),
        ({**JPEG, "content_type": 1}, "content_type"),
        ({**JPEG, "file_name": None}, "file_name"),
        ({**JPEG, "file_name": ""}, "file_name"),
        ({**JPEG, "file_name": "a" * 256}, "file_name"),
        ({**JPEG, "file_name": "a\0b"}, "file_name"),
        ({**JPEG, "filename": "test.jpg"}, "filename"),
        ({**JPEG, "size_bytes": "17"}, "size_bytes"),
        ({**JPEG, "size_bytes": 1.5}, "size_bytes"),
        ({**JPEG, "size_bytes": 0}, "size_bytes"),
        ({**JPEG, "size_bytes": -1}, "size_bytes"),
        ({**JPEG, "size_bytes": MAX_BYTES + 1}, "size_bytes"),
        ({**JPEG, "size_bytes": 10**30}, "size_bytes"),
        ({**JPEG, "checksum_sha256": "no base64"}, "checksum_sha256"),
        ({**JPEG, "checksum_sha256": "AAAA"}, "checksum_sha256"),
        ([], "body"),
        ("text", "body"),
        (None, "body"),
    ],
)
async def test_an_upload_request_of_another_shape_is_refused_by_field(
    api: Api, body: Any, field: str
) -> None:
    problem = assert_problem(await api.post("/upload-url", body), 422, "invalid-request")

    assert [error["field"] for error in problem["errors"]] == [field]
    assert problem["errors"][0]["message"]


@pytest.mark.parametrize("content_type", ["image/svg+xml", "IMAGE/JPEG", "text/html", ""])
async def test_an_unsupported_type_is_refused_and_the_supported_are_listed(
    api: Api, content_type: str
) -> None:
    reply = await api.post("/upload-url", {**JPEG, "content_type": content_type})

    problem = assert_problem(reply, 422, "unsupported-content-type")
    assert all(supported in problem["detail"] for supported in ORIGINAL_EXTENSIONS)
    assert problem["errors"][0]["field"] == "content_type"


# --- POST /complete-upload -------------------------------------------------------------------


@pytest.mark.parametrize("media_id", [UNKNOWN, "nonsense", "", "\0", "x" * 5000])
async def test_completing_a_media_that_does_not_exist_is_refused(api: Api, media_id: str) -> None:
    key = f"media/{media_id}/original.jpg"
    reply = await api.post("/complete-upload", {"media_id": media_id, "original_key": key})

    assert_problem(reply, 404, "media-not-found")


async def test_completing_with_the_key_of_another_media_is_refused(api: Api) -> None:
    ticket, other = await api.ticket(), await api.ticket()
    await api.upload(other)

    reply = await api.complete({**ticket, "original_key": other["original_key"]})

    assert_problem(reply, 422, "original-key-mismatch")


async def test_completing_before_the_upload_is_refused_and_may_be_tried_again(api: Api) -> None:
    ticket = await api.ticket()

    assert_problem(await api.complete(ticket), 409, "upload-missing")

    await api.upload(ticket)
    assert (await api.complete(ticket)).status == 202


async def test_an_upload_that_is_too_large_is_refused_and_may_be_replaced(
    api: Api,
) -> None:
    ticket = await api.ticket()
    body = bytes(MAX_BYTES + 1)
    # The store itself need not refuse it: who has its credentials can write anything.
    await api.put_object(ticket["original_key"], body)

    assert_problem(await api.complete(ticket), 422, "upload-too-large")

    await api.upload(ticket)
    assert (await api.complete(ticket)).status == 202


async def test_an_upload_of_another_size_than_declared_is_refused(api: Api) -> None:
    ticket = await api.ticket(size_bytes=17)
    body = b"short"
    await api.put_object(ticket["original_key"], body)

    assert_problem(await api.complete(ticket), 422, "upload-size-mismatch")

    document = await api.get(f"/media/{ticket['media_id']}")
    assert document.json()["status"] == "PENDING_UPLOAD"


async def test_completing_an_expired_upload_is_refused(api: Api) -> None:
    media = await api.media_in(State.EXPIRED)

    reply = await api.complete({"media_id": media.id, "original_key": media.original_key})

    assert_problem(reply, 410, "upload-expired")


async def test_completing_a_deleted_media_is_refused(api: Api) -> None:
    media = await api.media_in(State.DELETED)

    reply = await api.complete({"media_id": media.id, "original_key": media.original_key})

    assert_problem(reply, 404, "media-not-found")


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"media_id": UNKNOWN}, "original_key"),
        ({"original_key": "k"}, "media_id"),
        ({"media_id": 1, "original_key": "k"}, "media_id"),
        ({"media_id": UNKNOWN, "original_key": "k", "key": "k"}, "key"),
    ],
)
async def test_a_completion_of_another_shape_is_refused_by_field(
    api: Api, body: Any, field: str
) -> None:
    problem = assert_problem(await api.post("/complete-upload", body), 422, "invalid-request")

    assert [error["field"] for error in problem["errors"]] == [field]


# --- GET /media ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "media_id", [UNKNOWN, "nonsense", UNKNOWN.lower() + "a", "%00", "%FF", "a" * 5000, "%27%20OR"]
)
async def test_a_media_that_does_not_exist_is_not_found(api: Api, media_id: str) -> None:
    reply = await api.send("GET", f"/media/{media_id}", conforming=False)

    assert (reply.status, reply.json()["code"]) == (404, "media-not-found")
    reply = await api.send("GET", f"/media/{media_id}/variants/large", conforming=False)
    assert (reply.status, reply.json()["code"]) == (404, "media-not-found")


async def test_a_variant_that_does_not_exist_is_not_found(api: Api) -> None:
    media = await api.media_in(State.READY)

    reply = await api.get(f"/media/{media.id}/variants/huge")

    assert_problem(reply, 404, "variant-not-found")


async def test_a_variant_of_an_unfinished_media_is_not_found(api: Api) -> None:
    ticket = await api.ticket()

    reply = await api.get(f"/media/{ticket['media_id']}/variants/large")

    assert_problem(reply, 404, "variant-not-found")


# --- bodies ----------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/upload-url", "/complete-upload"])
@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"{'a': 1}", b"\xff\xfe{}", b'{"a": NaN}', b"{} {}", b'{"file_name":"\xff"}'],
)
async def test_what_is_not_json_is_refused(api: Api, path: str, body: bytes) -> None:
    assert_problem(await api.post(path, body), 400, "malformed-json")


async def test_json_nested_too_deep_is_refused(api: Api) -> None:
    reply = await api.post("/upload-url", b'{"content_type":' + b"[" * 60_000)

    assert reply.status in {400, 422}


@pytest.mark.parametrize("path", ["/upload-url", "/complete-upload"])
async def test_a_body_over_64_kib_is_refused(api: Api, path: str) -> None:
    body = b" " * (64 * 1024 + 1)

    async def in_pieces() -> AsyncIterator[bytes]:
        for start in range(0, len(body), 10_000):
            yield body[start : start + 10_000]

    assert_problem(await api.post(path, body), 413, "body-too-large")
    reply = await api.send("POST", path, in_pieces(), {"Content-Type": "application/json"})
    assert_problem(reply, 413, "body-too-large")


@pytest.mark.parametrize("declared", ["application/x-www-form-urlencoded", "text/plain"])
async def test_a_body_that_is_not_declared_as_json_is_refused(api: Api, declared: str) -> None:
    reply = await api.send("POST", "/upload-url", b"{}", {"Content-Type": declared})

    problem = assert_problem(reply, 415, "unsupported-media-type")
    assert "application/json" in problem["detail"]


# --- the framework's own ---------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/", "/nothing", "/media", "/media/a/b/c", "/upload-url/x"])
async def test_a_path_that_does_not_exist_is_not_found(api: Api, path: str) -> None:
    assert_problem(await api.get(path), 404, "not-found")


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", "/upload-url", "POST"),
        ("HEAD", "/upload-url", "POST"),
        ("DELETE", f"/media/{UNKNOWN}", "GET"),
        ("POST", "/health/live", "GET"),
        ("PATCH", "/complete-upload", "POST"),
    ],
)
async def test_a_method_that_is_not_allowed_is_answered_with_those_that_are(
    api: Api, method: str, path: str, allowed: str
) -> None:
    reply = await api.send(method, path)

    if method != "HEAD":
        assert_problem(reply, 405, "method-not-allowed")
    assert (reply.status, reply.headers["Content-Type"]) == (405, "application/problem+json")
    assert allowed in reply.headers["Allow"]


async def test_a_host_header_that_is_none_is_refused(api: Api) -> None:
    reply = await api.get("/health/live", headers={"Host": "a b"})

    assert_problem(reply, 400, "bad-request")


async def test_a_defect_of_ours_is_told_by_its_trace_only(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    def begin() -> None:
        raise RuntimeError("SELECT secret FROM /var/lib/database.py")

    monkeypatch.setattr(api.databases.database, "begin", begin)

    reply = await api.get(f"/media/{UNKNOWN}")

    problem = assert_problem(reply, 500, "internal-error")
    assert problem["trace_id"] == TRACEPARENT.split("-")[1]
    assert b"SELECT" not in reply.body
    assert b"database" not in reply.body


# --- outages ---------------------------------------------------------------------------------


async def test_without_the_database_every_call_says_to_come_back(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    ticket = await api.ticket()

    def begin() -> None:
        raise DatabaseUnavailable("postgres://user:password@host/db does not answer")

    monkeypatch.setattr(api.databases.database, "begin", begin)

    for reply in [
        await api.post("/upload-url", JPEG),
        await api.complete(ticket),
        await api.get(f"/media/{ticket['media_id']}"),
        await api.get(f"/media/{ticket['media_id']}/variants/large"),
    ]:
        assert_problem(reply, 503, "database-unavailable")
        assert int(reply.headers["Retry-After"]) >= 1
        assert b"password" not in reply.body


async def test_without_the_store_completing_says_to_come_back_and_changes_nothing(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    ticket = await api.ticket()
    await api.upload(ticket)

    async def head(key: str) -> None:
        raise StoreUnavailable(f"{key}: connection refused")

    with monkeypatch.context() as patch:
        patch.setattr(api.stores.store, "head", head)
        reply = await api.complete(ticket)
    assert_problem(reply, 503, "storage-unavailable")
    assert int(reply.headers["Retry-After"]) >= 1
    document = (await api.get(f"/media/{ticket['media_id']}")).json()
    assert (document["status"], document["original"]) == ("PENDING_UPLOAD", None)

    assert (await api.complete(ticket)).status == 202


async def test_without_the_broker_the_work_waits_in_the_outbox(api: Api) -> None:
    ticket = await api.ticket()
    await api.upload(ticket)

    assert (await api.complete(ticket)).status == 202
    # No broker was asked, so none can refuse: the order lies in the database.
    assert await api.orders(ticket["media_id"]) == 1
