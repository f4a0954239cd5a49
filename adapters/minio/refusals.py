"""From what went wrong to StoreUnavailable, in sentences free of credentials and signatures.

A refusal (wrong key, missing bucket) is an outage too: the operator has to act, and until then
the photo is innocent.
"""

import re
from http import HTTPStatus

from domain.errors import StoreUnavailable

NO_SUCH_BUCKET = "NoSuchBucket"
NO_SUCH_KEY = "NoSuchKey"
_CODE = re.compile(rb"<Code>([A-Za-z0-9.]{1,64})</Code>")
_CREDENTIALS = frozenset(
    {
        "AccessDenied",
        "ExpiredToken",
        "Forbidden",
        "InvalidAccessKeyId",
        "RequestTimeTooSkewed",
        "SignatureDoesNotMatch",
    }
)


class StoreRefusal(Exception):
    """An answer of the store that is an error: HTTP status and S3 error code."""

    def __init__(self, status: int, code: str) -> None:
        super().__init__(f"{status} {code}")
        self.status = status
        self.code = code


def error_code(body: bytes) -> str | None:
    """The code in an S3 error document, or None. Nothing else of it is safe to repeat."""
    found = _CODE.search(body)
    return found[1].decode() if found else None


def refused(operation: str, bucket: str, refusal: StoreRefusal) -> StoreUnavailable:
    """The error for an answer that was an error."""
    if refusal.code == NO_SUCH_BUCKET:
        text = f"{operation}: bucket {bucket!r} does not exist; `pipeline migrate` creates it"
    elif refusal.status == HTTPStatus.FORBIDDEN or refusal.code in _CREDENTIALS:
        text = (
            f"{operation}: the store refuses our key in bucket {bucket!r} ({refusal});"
            " check the access key, its rights and the clock"
        )
    else:
        text = f"{operation}: the store answered {refusal}"
    return StoreUnavailable(text)


def unanswered(operation: str, endpoint: str, error: BaseException) -> StoreUnavailable:
    """The error for no answer, or half of one."""
    reason = type(error).__name__
    return StoreUnavailable(f"{operation}: no answer from the store at {endpoint} ({reason})")
