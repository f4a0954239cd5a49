"""Why a photo, or one attempt at it, failed; and how often it is worth trying again.

Three kinds of code:

- PERMANENT: the photo itself is the reason; the first attempt is the last.
- SUSPECT: the decoder died on it. The machine may be to blame once, the photo is to blame
  twice: after `SUSPECT_ATTEMPTS` the photo fails under this very code.
- everything else is TRANSIENT: retried up to the policy's limit, then `attempts-exhausted`.

OUTAGES are transient failures of a server, not of the photo: they are not charged as attempts.
An original that a store cannot read, although it reads others, is something between the two: an
outage of this one object. It gets `UNREADABLE_POSTPONED` free tries before each that is charged.
"""

from dataclasses import dataclass
from enum import StrEnum


class FailureCode(StrEnum):
    """Stable names, part of the HTTP contract."""

    UNSUPPORTED_FORMAT = "unsupported-format"
    CONTENT_TYPE_MISMATCH = "content-type-mismatch"
    IMAGE_TRUNCATED = "image-truncated"
    IMAGE_CORRUPT = "image-corrupt"
    TOO_MANY_PIXELS = "too-many-pixels"
    TOO_MANY_BYTES = "too-many-bytes"
    DECODE_TIMEOUT = "decode-timeout"
    DECODE_OUT_OF_MEMORY = "decode-out-of-memory"
    DECODER_CRASHED = "decoder-crashed"
    ORIGINAL_MISSING = "original-missing"
    ORIGINAL_CHANGED = "original-changed"
    CHECKSUM_MISMATCH = "checksum-mismatch"
    ATTEMPTS_EXHAUSTED = "attempts-exhausted"
    WORKER_CRASHED = "worker-crashed"
    MESSAGE_UNDELIVERABLE = "message-undeliverable"
    # Reasons of a single attempt; a photo never ends with one of these.
    ORIGINAL_UNREADABLE = "original-unreadable"
    STORAGE_UNAVAILABLE = "storage-unavailable"
    DATABASE_UNAVAILABLE = "database-unavailable"
    INTERNAL_ERROR = "internal-error"


PERMANENT = frozenset(
    {
        FailureCode.UNSUPPORTED_FORMAT,
        FailureCode.CONTENT_TYPE_MISMATCH,
        FailureCode.IMAGE_TRUNCATED,
        FailureCode.IMAGE_CORRUPT,
        FailureCode.TOO_MANY_PIXELS,
        FailureCode.TOO_MANY_BYTES,
        FailureCode.ORIGINAL_MISSING,
        FailureCode.ORIGINAL_CHANGED,
        FailureCode.CHECKSUM_MISMATCH,
        FailureCode.ATTEMPTS_EXHAUSTED,
        FailureCode.WORKER_CRASHED,
        FailureCode.MESSAGE_UNDELIVERABLE,
    }
)
SUSPECT = frozenset(
    {
        FailureCode.DECODE_TIMEOUT,
        FailureCode.DECODE_OUT_OF_MEMORY,
        FailureCode.DECODER_CRASHED,
    }
)
OUTAGES = frozenset({FailureCode.STORAGE_UNAVAILABLE, FailureCode.DATABASE_UNAVAILABLE})
SUSPECT_ATTEMPTS = 2
UNREADABLE_POSTPONED = 20
ONLY_OF_ATTEMPTS = OUTAGES | {FailureCode.ORIGINAL_UNREADABLE, FailureCode.INTERNAL_ERROR}

TITLES: dict[FailureCode, str] = {
    FailureCode.UNSUPPORTED_FORMAT: "The file is not an image of a supported format.",
    FailureCode.CONTENT_TYPE_MISMATCH: "The file is not of the type that was declared.",
    FailureCode.IMAGE_TRUNCATED: "The image file ends too early.",
    FailureCode.IMAGE_CORRUPT: "The image file is damaged.",
    FailureCode.TOO_MANY_PIXELS: "The image has too many pixels.",
    FailureCode.TOO_MANY_BYTES: "The image file is too large.",
    FailureCode.DECODE_TIMEOUT: "Decoding the image took too long.",
    FailureCode.DECODE_OUT_OF_MEMORY: "Decoding the image needed too much memory.",
    FailureCode.DECODER_CRASHED: "The image crashed the decoder.",
    FailureCode.ORIGINAL_MISSING: "The uploaded file is gone.",
    FailureCode.ORIGINAL_CHANGED: "The uploaded file was replaced after completion.",
    FailureCode.CHECKSUM_MISMATCH: "The uploaded file does not have the declared checksum.",
    FailureCode.ATTEMPTS_EXHAUSTED: "Every attempt at the image failed.",
    FailureCode.WORKER_CRASHED: "The worker died each time it held this image.",
    FailureCode.MESSAGE_UNDELIVERABLE: "The work order for this image could not be delivered.",
    FailureCode.ORIGINAL_UNREADABLE: "The object store cannot read the uploaded file.",
    FailureCode.STORAGE_UNAVAILABLE: "The object store did not answer.",
    FailureCode.DATABASE_UNAVAILABLE: "The database did not answer.",
    FailureCode.INTERNAL_ERROR: "Something unexpected went wrong on our side.",
}


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a media is FAILED. `attempt` is the number of charged attempts when it was given up."""

    code: FailureCode
    detail: str
    attempt: int

    @property
    def title(self) -> str:
        return TITLES[self.code]

    @property
    def retryable(self) -> bool:
        """Whether a replay by the operator could end differently with the same bytes."""
        return self.code not in PERMANENT or self.code in _WORTH_A_REPLAY


_WORTH_A_REPLAY = frozenset(
    {
        FailureCode.ATTEMPTS_EXHAUSTED,
        FailureCode.WORKER_CRASHED,
        FailureCode.MESSAGE_UNDELIVERABLE,
    }
)
