"""Our signatures are those of Amazon's specification, and byte for byte those of botocore."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from importlib import import_module
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.minio.sigv4 import EXPIRES_SECONDS_MAX, Endpoint, Signer, escape_path
from domain.errors import InvalidConfiguration

# Botocore has no types; Any is the truth about it.
auth: Any = import_module("botocore.auth")
awsrequest: Any = import_module("botocore.awsrequest")
config: Any = import_module("botocore.config")
session: Any = import_module("botocore.session")
utils: Any = import_module("botocore.utils")
ReadOnlyCredentials: Any = import_module("botocore.credentials").ReadOnlyCredentials

ACCESS_KEY, SECRET_KEY, REGION = "key/with+signs=", "secret/with+signs=", "eu-central-1"
SIGNED = ("content-type", "content-length", "if-match", "if-none-match", "x-amz-checksum-sha256")

keys = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40)
times = st.integers(946_684_800, 4_102_444_800).map(lambda s: datetime.fromtimestamp(s, UTC))
expiries = st.integers(1, EXPIRES_SECONDS_MAX)


@dataclass(frozen=True)
class Request:
    method: str
    endpoint: str
    key: str
    headers: dict[str, str]
    now: datetime


requests = st.builds(
    Request,
    method=st.sampled_from(["GET", "PUT", "HEAD"]),
    endpoint=st.sampled_from(
        ["http://127.0.0.1:9000", "https://photos.example.org", "http://[::1]:9000", "http://minio"]
    ),
    key=keys,
    headers=st.dictionaries(
        st.sampled_from(SIGNED), st.text(st.characters(min_codepoint=32, max_codepoint=126))
    ),
    now=times,
)


class UnsignedPayload(auth.S3SigV4Auth):
    """Botocore's signer as it works over HTTPS, also for plain HTTP."""

    def payload(self, request: Any) -> str:
        del request
        return "UNSIGNED-PAYLOAD"


def signed_by_botocore(signing: Any, request: Request) -> Any:
    path = utils.percent_encode(f"/bucket/{request.key}", safe="/~")
    signed = awsrequest.AWSRequest(request.method, request.endpoint + path, request.headers)
    with patch("botocore.auth.get_current_datetime", lambda: request.now):
        signing.add_auth(signed)
    return signed


def signer(endpoint: str) -> Signer:
    return Signer(Endpoint.parse(endpoint), ACCESS_KEY, SECRET_KEY, REGION)


@pytest.fixture(scope="module")
def client() -> Iterator[Any]:
    client = session.get_session().create_client(
        "s3",
        endpoint_url="http://127.0.0.1:9000",
        aws_access_key_id=ACCESS_KEY,
        aws_secret_access_key=SECRET_KEY,
        region_name=REGION,
        config=config.Config(
            signature_version="s3v4",
            s3={"addressing_style": "path"},
            request_checksum_calculation="when_required",
        ),
    )
    yield client
    client.close()


def test_the_example_of_the_specification_has_its_published_signature() -> None:
    example = Signer(
        Endpoint.parse("https://examplebucket.s3.amazonaws.com"),
        "AKIAIOSFODNN7EXAMPLE",
        "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
        "us-east-1",
    )
    url = example.presign(
        "GET",
        "/test.txt",
        headers={},
        expires_seconds=86400,
        now=datetime(2013, 5, 24, tzinfo=UTC),
    )
    assert url.endswith("=aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404")


@settings(deadline=None)
@given(requests, expiries)
def test_a_presigned_url_is_the_one_of_botocore(request: Request, expires: int) -> None:
    credentials = ReadOnlyCredentials(ACCESS_KEY, SECRET_KEY, None)
    signing = auth.S3SigV4QueryAuth(credentials, "s3", REGION, expires)
    expected = signed_by_botocore(signing, request).url
    ours = signer(request.endpoint).presign(
        request.method,
        escape_path("bucket", request.key),
        headers=request.headers,
        expires_seconds=expires,
        now=request.now,
    )
    assert ours == expected


@settings(deadline=None)
@given(requests)
def test_an_authorization_header_is_the_one_of_botocore(request: Request) -> None:
    signing = UnsignedPayload(ReadOnlyCredentials(ACCESS_KEY, SECRET_KEY, None), "s3", REGION)
    expected = signed_by_botocore(signing, request).headers
    ours = signer(request.endpoint).authorize(
        request.method,
        escape_path("bucket", request.key),
        headers=request.headers,
        now=request.now,
    )
    assert ours == dict(expected.items())


@settings(deadline=None, max_examples=50)
@given(keys, expiries, times)
def test_an_upload_link_is_the_one_of_a_whole_botocore_client(
    client: Any, key: str, expires: int, now: datetime
) -> None:
    params = {
        "Bucket": "bucket",
        "Key": key,
        "ContentType": "image/jpeg",
        "ContentLength": 5,
        "ChecksumSHA256": "c2hhMjU2",
        "IfNoneMatch": "*",
    }
    with patch("botocore.auth.get_current_datetime", lambda: now):
        expected = client.generate_presigned_url("put_object", params, expires)
    ours = signer("http://127.0.0.1:9000").presign(
        "PUT",
        escape_path("bucket", key),
        headers={
            "Content-Type": "image/jpeg",
            "Content-Length": "5",
            "x-amz-checksum-sha256": "c2hhMjU2",
            "If-None-Match": "*",
        },
        expires_seconds=expires,
        now=now,
    )
    assert ours == expected


def test_the_signing_key_follows_the_day_and_time_zones_do_not_matter() -> None:
    reused, now = signer("http://minio"), datetime(2026, 1, 1, 23, 59, 59, tzinfo=UTC)

    def link(by: Signer, at: datetime) -> str:
        return by.presign("GET", "/b/k", headers={}, expires_seconds=1, now=at)

    for at in (now, now + timedelta(seconds=1), now):
        elsewhere = at.astimezone(timezone(timedelta(hours=9)))
        assert link(reused, elsewhere) == link(signer("http://minio"), at)


@pytest.mark.parametrize(
    ("url", "base", "host"),
    [
        ("http://minio:9000", "http://minio:9000", "minio:9000"),
        ("http://MinIO:9000/", "http://minio:9000", "minio:9000"),
        ("https://s3.example.org:443", "https://s3.example.org", "s3.example.org"),
        ("http://s3.example.org:443", "http://s3.example.org:443", "s3.example.org:443"),
        ("http://[::1]:9000", "http://[::1]:9000", "[::1]:9000"),
    ],
)
def test_an_endpoint_is_written_as_clients_write_the_host_header(
    url: str, base: str, host: str
) -> None:
    assert Endpoint.parse(url) == Endpoint(base, host)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "minio:9000",
        "ftp://minio",
        "http://",
        "http://minio/path",
        "http://minio?a=b",
        "http://minio:port",
        "http://[::1",
        "http://user:hunter2@minio",
        "user:hunter2@minio",
    ],
)
def test_anything_else_is_no_endpoint_and_no_password_is_repeated(url: str) -> None:
    with pytest.raises(InvalidConfiguration) as caught:
        Endpoint.parse(url)
    assert "hunter2" not in str(caught.value)
