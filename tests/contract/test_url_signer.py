"""What `UrlSigner` promises a client without credentials, on every set."""

import asyncio
import base64
import hashlib
from urllib.parse import urlsplit

import pytest

from application.values import SignedUpload
from tests.support.clients import Answer
from tests.support.sets import StorePorts
from tests.support.waiting import eventually

pytestmark = pytest.mark.anyio

KEY = "media/01/original.jpg"
BODY = b"not really a JPEG" * 1000
REFUSED = range(400, 500)


def checksum(body: bytes = BODY) -> str:
    return base64.b64encode(hashlib.sha256(body).digest()).decode()


async def sign(
    ports: StorePorts,
    key: str = KEY,
    *,
    expires_seconds: int = 60,
    size: int | None = None,
    sha256: str | None = None,
) -> SignedUpload:
    return await ports.signer.upload_url(
        key,
        content_type="image/jpeg",
        expires_seconds=expires_seconds,
        size=size,
        sha256=sha256,
    )


async def put(ports: StorePorts, signed: SignedUpload, body: bytes = BODY) -> Answer:
    return await ports.client.put(signed.url, body, signed.headers)


async def is_stored(ports: StorePorts, key: str = KEY) -> bool:
    return await ports.store.head(key) is not None


# --- what is allowed -------------------------------------------------------------------------


async def test_an_upload_link_takes_a_put(store_ports: StorePorts) -> None:
    signed = await sign(store_ports)
    assert dict(signed.headers) == {"Content-Type": "image/jpeg"}
    assert (await put(store_ports, signed)).accepted
    stored = await store_ports.store.head(KEY)
    assert stored is not None
    assert stored.size == len(BODY)


async def test_a_download_link_gives_the_very_bytes(store_ports: StorePorts) -> None:
    await put(store_ports, await sign(store_ports))
    url = await store_ports.signer.download_url(KEY, expires_seconds=60)
    assert await store_ports.client.get(url) == (200, BODY)


async def test_an_upload_link_without_a_checksum_can_be_used_again(
    store_ports: StorePorts,
) -> None:
    signed = await sign(store_ports)
    assert (await put(store_ports, signed)).accepted
    assert (await put(store_ports, signed, b"another photo")).accepted
    stored = await store_ports.store.head(KEY)
    assert stored is not None
    assert stored.size == len(b"another photo")


async def test_the_declared_length_and_checksum_are_accepted(store_ports: StorePorts) -> None:
    signed = await sign(store_ports, size=len(BODY), sha256=checksum())
    assert dict(signed.headers) == {
        "Content-Type": "image/jpeg",
        "x-amz-checksum-sha256": checksum(),
        "If-None-Match": "*",
    }
    assert (await put(store_ports, signed)).accepted


async def test_an_empty_body_can_be_uploaded(store_ports: StorePorts) -> None:
    assert (await put(store_ports, await sign(store_ports), b"")).accepted
    assert await is_stored(store_ports)


async def test_a_link_needs_no_network_and_no_object(store_ports: StorePorts) -> None:
    url = await store_ports.signer.download_url("media/02/none.webp", expires_seconds=60)
    assert (await store_ports.client.get(url)).status == 404


@pytest.mark.parametrize(
    "key", ["media/01/a b+c%20d.jpg", "media/01/ünï-\N{CAMERA}.jpg", "media/01/a&b=c;d.jpg"]
)
async def test_odd_keys_can_be_put_and_got(store_ports: StorePorts, key: str) -> None:
    assert (await put(store_ports, await sign(store_ports, key))).accepted
    assert await is_stored(store_ports, key)
    url = await store_ports.signer.download_url(key, expires_seconds=60)
    assert await store_ports.client.get(url) == (200, BODY)


# --- what is refused -------------------------------------------------------------------------


@pytest.mark.parametrize("body", [BODY[:-1], BODY + b"!", b""])
async def test_another_length_than_the_signed_one_is_refused(
    store_ports: StorePorts, body: bytes
) -> None:
    signed = await sign(store_ports, size=len(BODY))
    assert (await put(store_ports, signed, body)).status in REFUSED
    assert not await is_stored(store_ports)
    assert (await put(store_ports, signed)).accepted


async def test_another_body_than_the_signed_checksum_is_refused(store_ports: StorePorts) -> None:
    signed = await sign(store_ports, sha256=checksum())
    assert (await put(store_ports, signed, BODY[::-1])).status in REFUSED
    assert not await is_stored(store_ports)
    assert (await put(store_ports, signed)).accepted


async def test_an_upload_with_a_checksum_is_write_once(store_ports: StorePorts) -> None:
    signed = await sign(store_ports, sha256=checksum())
    assert (await put(store_ports, signed)).accepted
    before = await store_ports.store.head(KEY)
    assert (await put(store_ports, signed)).status == 412
    assert await store_ports.store.head(KEY) == before


async def test_of_many_write_once_uploads_at_once_one_is_kept(store_ports: StorePorts) -> None:
    signed = await sign(store_ports, sha256=checksum())
    answers = await asyncio.gather(*(put(store_ports, signed) for _ in range(5)))
    assert [answer.accepted for answer in answers].count(True) == 1
    assert await is_stored(store_ports)


@pytest.mark.parametrize("left_out", ["Content-Type", "x-amz-checksum-sha256", "If-None-Match"])
async def test_every_signed_header_must_be_sent(store_ports: StorePorts, left_out: str) -> None:
    signed = await sign(store_ports, sha256=checksum())
    headers = {name: value for name, value in signed.headers.items() if name != left_out}
    assert (await store_ports.client.put(signed.url, BODY, headers)).status in REFUSED
    assert not await is_stored(store_ports)


async def test_another_content_type_than_the_signed_one_is_refused(
    store_ports: StorePorts,
) -> None:
    signed = await sign(store_ports)
    answer = await store_ports.client.put(signed.url, BODY, {"Content-Type": "text/html"})
    assert answer.status in REFUSED
    assert not await is_stored(store_ports)


async def test_an_upload_link_stops_working(store_ports: StorePorts) -> None:
    signed = await sign(store_ports, expires_seconds=1)
    answer = await eventually(
        lambda: put(store_ports, signed), until=lambda answer: not answer.accepted, seconds=5.0
    )
    assert answer.status == 403


async def test_a_download_link_stops_working(store_ports: StorePorts) -> None:
    await put(store_ports, await sign(store_ports))
    url = await store_ports.signer.download_url(KEY, expires_seconds=1)
    answer = await eventually(
        lambda: store_ports.client.get(url), until=lambda answer: not answer.accepted, seconds=5.0
    )
    assert answer.status == 403
    assert BODY not in answer.body


async def test_a_link_is_good_for_its_own_key_only(store_ports: StorePorts) -> None:
    signed = await sign(store_ports)
    forged = signed.url.replace("media/01/", "media/02/")
    assert forged != signed.url
    assert (await store_ports.client.put(forged, BODY, signed.headers)).status == 403
    assert not await is_stored(store_ports, "media/02/original.jpg")


async def test_a_link_is_good_for_its_own_method_only(store_ports: StorePorts) -> None:
    signed = await sign(store_ports)
    assert (await put(store_ports, signed)).accepted
    assert (await store_ports.client.get(signed.url)).status in REFUSED
    url = await store_ports.signer.download_url(KEY, expires_seconds=60)
    assert (await store_ports.client.put(url, b"evil", signed.headers)).status in REFUSED
    assert await store_ports.client.get(url) == (200, BODY)


async def test_a_link_cannot_be_altered(store_ports: StorePorts) -> None:
    """Each parameter of the link is changed in its last character, and left out."""
    await put(store_ports, await sign(store_ports))
    url = await store_ports.signer.download_url(KEY, expires_seconds=60)
    base, _, query = url.partition("?")
    parameters = [parameter for parameter in query.split("&") if not parameter.endswith("=")]
    for parameter in parameters:
        changed = parameter[:-1] + ("0" if parameter[-1] != "0" else "1")
        for forged in (query.replace(parameter, changed), query.replace(parameter, "")):
            assert (await store_ports.client.get(f"{base}?{forged}")).status in REFUSED, parameter
    assert (await store_ports.client.get(base)).status in REFUSED


async def test_the_links_of_two_uploads_differ_and_name_no_secret(
    store_ports: StorePorts,
) -> None:
    links = {(await sign(store_ports, f"media/0{number}/original.jpg")).url for number in (1, 2)}
    assert len(links) == 2
    assert all(urlsplit(link).username is None for link in links)
    assert all("test-secret-key" not in link for link in links)
