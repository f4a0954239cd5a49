"""AWS Signature Version 4, for one endpoint and one pair of keys. Pure: the time is an argument.

Written from Amazon's public specification: "Authenticating Requests: Using Query Parameters" for
`presign` and "Using the Authorization Header" for `authorize`, both with an unsigned payload.
Why by hand: a general SDK spends several times as long on a signature as the store spends on the
request (the figures are in docs/benchmarks.md), and every photo needs about ten of them.

    canonical request = method, path, query, headers, names of the signed headers, payload hash
    string to sign    = algorithm, time, scope, SHA-256(canonical request)
    signing key       = HMAC chain over day, region, service, "aws4_request"; the same all day
    signature         = HMAC(signing key, string to sign)
"""

import hashlib
import hmac
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import quote, urlsplit

from domain.errors import InvalidConfiguration

EXPIRES_SECONDS_MAX = 7 * 24 * 3600  # of a presigned URL, by the specification
_ALGORITHM = "AWS4-HMAC-SHA256"
_PAYLOAD = "UNSIGNED-PAYLOAD"
_DEFAULT_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a store is: `base` is scheme and host, `host` what clients send as the Host header."""

    base: str
    host: str

    @classmethod
    def parse(cls, url: str) -> "Endpoint":
        """Raises InvalidConfiguration, which does not repeat it, for any other form of URL."""
        malformed = InvalidConfiguration(
            ["A store endpoint is an address such as http://host:port, without path or password."]
        )
        try:
            parts = urlsplit(url)
            name, port = parts.hostname or "", parts.port
        except ValueError as error:
            raise malformed from error
        extra = parts.path.strip("/") or parts.query or parts.fragment or "@" in parts.netloc
        if parts.scheme not in _DEFAULT_PORTS or not name or extra:
            raise malformed
        host = f"[{name}]" if ":" in name else name
        if port not in (None, _DEFAULT_PORTS[parts.scheme]):
            host = f"{host}:{port}"
        return cls(f"{parts.scheme}://{host}", host)


def escape_path(bucket: str, key: str = "") -> str:
    """The path of an object, or of the bucket: UTF-8, all but `A-Za-z0-9-_.~/` percent-encoded."""
    return quote(f"/{bucket}/{key}" if key else f"/{bucket}", safe="/-_.~")


def _escape(value: str) -> str:
    return quote(value, safe="-_.~")


class Signer:
    """Signs requests to one endpoint. Paths are those of `escape_path`."""

    def __init__(self, endpoint: Endpoint, access_key: str, secret_key: str, region: str) -> None:
        self._endpoint = endpoint
        self._access_key = access_key
        self._secret_key = secret_key
        self._region = region
        self._signing_key = ("", b"")

    def presign(
        self,
        method: str,
        path: str,
        *,
        headers: Mapping[str, str],
        expires_seconds: int,
        now: datetime,
    ) -> str:
        """A URL that is good for this method, path and exactly these headers until it expires."""
        assert 0 < expires_seconds <= EXPIRES_SECONDS_MAX
        stamp, scope = self._moment(now)
        lines, names = self._canonical_headers(headers.items())
        query = (
            f"X-Amz-Algorithm={_ALGORITHM}&X-Amz-Credential={_escape(self._credential(scope))}"
            f"&X-Amz-Date={stamp}&X-Amz-Expires={expires_seconds}"
            f"&X-Amz-SignedHeaders={_escape(names)}"
        )
        signature = self._signature(f"{method}\n{path}\n{query}\n{lines}\n{names}", stamp, scope)
        return f"{self._endpoint.base}{path}?{query}&X-Amz-Signature={signature}"

    def authorize(
        self, method: str, path: str, *, headers: Mapping[str, str], now: datetime
    ) -> dict[str, str]:
        """`headers` and those that authorize the request. The URL stays free of secrets."""
        stamp, scope = self._moment(now)
        sent = {**headers, "X-Amz-Content-SHA256": _PAYLOAD, "X-Amz-Date": stamp}
        lines, names = self._canonical_headers(sent.items())
        signature = self._signature(f"{method}\n{path}\n\n{lines}\n{names}", stamp, scope)
        credential = self._credential(scope)
        sent["Authorization"] = (
            f"{_ALGORITHM} Credential={credential}, SignedHeaders={names}, Signature={signature}"
        )
        return sent

    def _moment(self, now: datetime) -> tuple[str, str]:
        stamp = now.astimezone(UTC).strftime("%Y%m%dT%H%M%SZ")
        return stamp, f"{stamp[:8]}/{self._region}/s3/aws4_request"

    def _credential(self, scope: str) -> str:
        return f"{self._access_key}/{scope}"

    def _canonical_headers(self, headers: Iterable[tuple[str, str]]) -> tuple[str, str]:
        lowered = sorted(
            [("host", self._endpoint.host), *((n.lower(), " ".join(v.split())) for n, v in headers)]
        )
        lines = "".join(f"{name}:{value}\n" for name, value in lowered)
        return lines, ";".join(name for name, _ in lowered)

    def _signature(self, canonical_request: str, stamp: str, scope: str) -> str:
        digest = hashlib.sha256(f"{canonical_request}\n{_PAYLOAD}".encode()).hexdigest()
        text = f"{_ALGORITHM}\n{stamp}\n{scope}\n{digest}"
        return hmac.digest(self._key_for(scope), text.encode(), "sha256").hex()

    def _key_for(self, scope: str) -> bytes:
        known_scope, key = self._signing_key
        if scope != known_scope:
            key = f"AWS4{self._secret_key}".encode()
            for part in scope.split("/"):
                key = hmac.digest(key, part.encode(), "sha256")
            self._signing_key = (scope, key)
        return key
