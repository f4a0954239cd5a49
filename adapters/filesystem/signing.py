"""Signed links in the manner of S3: the signature covers method, key, expiry and named headers.

    {public_url}/objects/{key}?expires=1700000000&headers=content-type&signature=...

`headers` names the signed headers; their values are those that the client sends, so a request
with other values is not the one that was signed.
"""

import base64
import hashlib
import hmac
import json
from collections.abc import Mapping
from datetime import datetime
from urllib.parse import quote, urlencode

from adapters.filesystem.errors import LinkExpired, SignatureDoesNotMatch

SECRET_BYTES_MIN = 32
_FORM = "image-pipeline-link-1"
_NO_HEADERS: Mapping[str, str] = {}


class LinkSigner:
    """`public_url` is where clients reach the API."""

    def __init__(self, public_url: str, secret: bytes) -> None:
        if len(secret) < SECRET_BYTES_MIN:
            raise ValueError(f"a signing secret has at least {SECRET_BYTES_MIN} bytes")
        self._public_url = public_url.rstrip("/")
        self._secret = secret

    def url(
        self, method: str, key: str, expires: datetime, headers: Mapping[str, str] = _NO_HEADERS
    ) -> str:
        """A link for one method on one key; header names in lower case."""
        names = ";".join(sorted(headers))
        when = str(int(expires.timestamp()))
        query = {"expires": when, **({"headers": names} if names else {})}
        query["signature"] = self._signature(method, key, when, names, headers)
        return f"{self._public_url}/objects/{quote(key, safe='/')}?{urlencode(query)}"

    def verify(
        self,
        method: str,
        key: str,
        query: Mapping[str, str],
        headers: Mapping[str, str],
        now: datetime,
    ) -> None:
        """Raises SignatureDoesNotMatch or LinkExpired; `headers` are those of the request."""
        expires, names = query.get("expires", ""), query.get("headers", "")
        expected = self._signature(method, key, expires, names, headers)
        given = query.get("signature", "")
        if not hmac.compare_digest(expected.encode(), given.encode(errors="replace")):
            raise SignatureDoesNotMatch
        if int(expires) <= now.timestamp():
            raise LinkExpired

    def _signature(
        self, method: str, key: str, expires: str, names: str, headers: Mapping[str, str]
    ) -> str:
        values = [headers.get(name) for name in names.split(";")]
        signed = json.dumps([_FORM, method, key, expires, names, values])
        digest = hmac.new(self._secret, signed.encode(), hashlib.sha256).digest()
        return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
