"""What the calls of the contract answer when all is well."""

import asyncio
from datetime import datetime, timedelta

import pytest

from adapters.system import utc_now
from domain.lifecycle import TERMINAL, State
from tests.api.client import JPEG, PHOTO, Api
from tests.api.conftest import DOWNLOAD_SECONDS, LINK_SECONDS, MAX_BYTES
from tests.support.builders import TRACEPARENT

pytestmark = pytest.mark.anyio

MEDIA_FIELDS = [
    "media_id",
    "status",
    "final_url",
    "final_url_expires_at",
    "file_name",
    "content_type",
    "original_key",
    "created_at",
    "updated_at",
    "original",
    "variants",
    "placeholder",
    "attempt",
    "attempts_max",
    "next_attempt_at",
    "attempts",
    "failure",
    "trace_id",
]


async def test_an_upload_url_is_answered_with_all_that_the_client_needs(api: Api) -> None:
    reply = await api.post("/upload-url", JPEG)

    ticket = reply.json()
    media_id = ticket["media_id"]
    assert reply.status == 201
    assert reply.headers["Location"] == f"/media/{media_id}"
    assert ticket["original_key"] == f"media/{media_id}/original.jpg"
    assert ticket["upload_headers"] == {"Content-Type": "image/jpeg"}
    assert ticket["max_bytes"] == MAX_BYTES
    left = datetime.fromisoformat(ticket["expires_at"]) - utc_now()
    assert timedelta(seconds=LINK_SECONDS - 60) < left < timedelta(seconds=LINK_SECONDS + 60)


async def test_the_extension_of_the_key_follows_the_type_and_not_the_file_name(api: Api) -> None:
    ticket = await api.ticket(content_type="image/png", file_name="../../étrange.jpg")

    assert ticket["original_key"].endswith("/original.png")
    media = (await api.get(f"/media/{ticket['media_id']}")).json()
    assert media["file_name"] == "../../étrange.jpg"


async def test_a_declared_checksum_is_among_the_headers_to_send(api: Api) -> None:
    checksum = "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="
    ticket = await api.ticket(size_bytes=17, checksum_sha256=checksum)

    headers = {name.lower(): value for name, value in ticket["upload_headers"].items()}
    assert headers["x-amz-checksum-sha256"] == checksum
    assert headers["if-none-match"] == "*"


async def test_a_completed_upload_is_accepted_with_work_remaining(api: Api) -> None:
    ticket = await api.ticket()
    await api.upload(ticket)

    reply = await api.complete(ticket)

    assert (reply.status, reply.headers["Retry-After"]) == (202, "1")
    assert reply.headers["Location"] == f"/media/{ticket['media_id']}"
    media = reply.json()
    assert list(media) == MEDIA_FIELDS
    assert media["status"] == "UPLOADED"
    assert media["original"]["bytes"] == len(PHOTO)
    assert media["original"]["width"] is None
    assert media["trace_id"] == TRACEPARENT.split("-")[1]


async def test_completing_from_many_clients_at_once_orders_the_work_once(api: Api) -> None:
    ticket = await api.ticket()
    await api.upload(ticket)

    replies = await asyncio.gather(*(api.complete(ticket) for _ in range(10)))

    assert {reply.status for reply in replies} == {202}
    assert len({reply.body for reply in replies}) == 1
    assert await api.orders(ticket["media_id"]) == 1


@pytest.mark.parametrize("state", [State.READY, State.FAILED])
async def test_completing_what_is_finished_answers_the_document_as_final(
    api: Api, state: State
) -> None:
    media = await api.media_in(state, now=utc_now())

    reply = await api.complete({"media_id": media.id, "original_key": media.original_key})

    assert reply.status == 200
    assert reply.json()["status"] == state
    assert "Retry-After" not in reply.headers


@pytest.mark.parametrize("state", list(State))
async def test_the_document_tells_the_state_and_when_to_ask_again(api: Api, state: State) -> None:
    media = await api.media_in(state, now=utc_now())

    reply = await api.get(f"/media/{media.id}")

    assert reply.status == 200
    assert list(reply.json()) == MEDIA_FIELDS
    assert reply.json()["status"] == state
    assert ("Retry-After" in reply.headers) == (state not in TERMINAL)
    assert reply.headers["Cache-Control"] == "no-store"


async def test_a_retry_is_asked_for_again_when_it_is_due(api: Api) -> None:
    media = await api.media_in(State.RETRYING, now=utc_now() + timedelta(seconds=10))

    reply = await api.get(f"/media/{media.id}")

    assert 5 <= int(reply.headers["Retry-After"]) <= 12
    assert reply.json()["next_attempt_at"].endswith("Z")
    attempt = reply.json()["attempts"][0]
    assert (attempt["number"], attempt["worker_id"]) == (1, "worker-1")
    assert (attempt["outcome"], attempt["error_code"]) == ("failed", "internal-error")


async def test_a_failure_says_why_and_whether_another_go_is_worth_it(api: Api) -> None:
    media = await api.media_in(State.FAILED, now=utc_now())

    failure = (await api.get(f"/media/{media.id}")).json()["failure"]

    assert failure == {
        "code": "image-truncated",
        "title": "The image file ends too early.",
        "detail": "A reason.",
        "retryable": False,
        "attempt": 1,
    }


async def test_the_final_url_leads_to_the_largest_variant(api: Api) -> None:
    media = await api.media_in(State.READY, now=utc_now())
    await api.put_object(media.variants[0].key, b"a variant")

    document = (await api.get(f"/media/{media.id}")).json()

    small = next(one for one in document["variants"] if one["name"] == "small")
    assert document["final_url"] == small["url"]
    assert (await api.stores.client.get(document["final_url"])).body == b"a variant"
    left = datetime.fromisoformat(document["final_url_expires_at"]) - utc_now()
    assert timedelta(seconds=DOWNLOAD_SECONDS - 60) < left <= timedelta(seconds=DOWNLOAD_SECONDS)


async def test_the_stable_link_redirects_and_is_not_kept_longer_than_its_signature(
    api: Api,
) -> None:
    media = await api.media_in(State.READY, now=utc_now())
    await api.put_object(media.variants[0].key, b"thumb")

    reply = await api.get(f"/media/{media.id}/variants/thumb")

    assert (reply.status, reply.body) == (302, b"")
    assert (await api.stores.client.get(reply.headers["Location"])).body == b"thumb"
    assert int(reply.headers["Cache-Control"].rpartition("=")[2]) < DOWNLOAD_SECONDS


async def test_a_head_answers_like_a_get_without_the_body(api: Api) -> None:
    media = await api.media_in(State.READY, now=utc_now())
    for path in (f"/media/{media.id}", "/openapi.json", "/health/live", "/metrics"):
        get, head = await api.get(path), await api.send("HEAD", path)
        assert (head.status, head.body) == (get.status, b"")
        assert head.headers["Content-Type"] == get.headers["Content-Type"]


async def test_a_missing_content_type_is_taken_for_json(api: Api) -> None:
    reply = await api.send("POST", "/upload-url", b'{"content_type":"image/gif","file_name":"a"}')

    assert reply.status == 201
