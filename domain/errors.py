"""The error tree, grouped by what the caller should do.

PipelineError
├── Unavailable               try again later: nothing is wrong with the request
│   ├── DatabaseUnavailable
│   ├── StoreUnavailable
│   │   └── DiskFull          of the machine that works on photos
│   └── BrokerUnavailable
├── Conflict                  somebody else was faster: read again, decide again
│   ├── VersionConflict
│   └── LeaseLost
├── Rejected                  the client must change something; `code` is the stable name
│   ├── MediaNotFound, VariantNotFound, LetterNotFound
│   ├── UnsupportedContentType, InvalidUpload
│   └── OriginalKeyMismatch, UploadMissing, UploadTooLarge, UploadSizeMismatch, UploadExpired
├── ProcessingFailed          this attempt at this photo failed; `code` decides about a retry
├── Undeliverable             this message can never be handled: dead-letter it
│   ├── MalformedMessage
│   └── UnroutableMessage
├── InvalidConfiguration      the operator must change a setting; carries every problem found
└── IllegalTransition         a defect of ours: nothing was changed

Each message names the ids involved. A driver's own error stays in `__cause__`.
"""

from collections.abc import Sequence

from domain.failure import FailureCode


class PipelineError(Exception):
    """Root of every error the pipeline raises on purpose."""


class Unavailable(PipelineError):
    """A server did not answer or refused work; the same call may succeed later."""


class DatabaseUnavailable(Unavailable):
    """The database did not answer. A commit under way may or may not have happened."""


class StoreUnavailable(Unavailable):
    """The object store did not answer. An upload under way may or may not have happened.

    `detail` is the sentence for the owner of a photo that has to wait.
    """

    detail = "The object store did not answer."


class DiskFull(StoreUnavailable):
    """There is no room where photos are worked on."""

    detail = "The disk on which photos are worked on is full."

    def __init__(self, folder: str) -> None:
        super().__init__(f"there is no room to work on photos in {folder}; see SCRATCH_DIR")


class BrokerUnavailable(Unavailable):
    """The broker did not answer. A publish under way may or may not have happened."""


class Conflict(PipelineError):
    """The state this decision was based on has changed."""


class VersionConflict(Conflict):
    """Another transaction changed the media first; nothing of this one was kept."""

    def __init__(self, media_id: str) -> None:
        super().__init__(f"media {media_id} was changed by another transaction")
        self.media_id = media_id


class LeaseLost(Conflict):
    """The lease with this fencing token no longer allows writing to the media."""

    def __init__(self, media_id: str, token: int) -> None:
        super().__init__(f"media {media_id}: lease {token} is no longer held")
        self.media_id = media_id
        self.token = token


class Rejected(PipelineError):
    """The request cannot be carried out as it is; `code` names the reason for clients."""

    code = "rejected"


class MediaNotFound(Rejected):
    code = "media-not-found"

    def __init__(self, media_id: str) -> None:
        super().__init__(f"there is no media {media_id}")


class VariantNotFound(Rejected):
    code = "variant-not-found"

    def __init__(self, media_id: str, name: str) -> None:
        super().__init__(f"media {media_id} has no variant {name!r}")


class LetterNotFound(Rejected):
    code = "letter-not-found"

    def __init__(self, letter_id: str) -> None:
        super().__init__(f"there is no dead letter {letter_id}")


class InvalidUpload(Rejected):
    """One field of an upload request breaks a rule; `field` names it."""

    code = "invalid-request"

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


class UnsupportedContentType(InvalidUpload):
    code = "unsupported-content-type"

    def __init__(self, content_type: str, supported: Sequence[str]) -> None:
        message = f"{content_type!r} is not supported; supported are {', '.join(supported)}"
        super().__init__("content_type", message)


class OriginalKeyMismatch(Rejected):
    code = "original-key-mismatch"

    def __init__(self, media_id: str) -> None:
        super().__init__(f"original_key is not the key of media {media_id}")


class UploadMissing(Rejected):
    code = "upload-missing"

    def __init__(self, media_id: str) -> None:
        super().__init__(f"nothing has been uploaded for media {media_id} yet")


class UploadTooLarge(Rejected):
    code = "upload-too-large"

    def __init__(self, media_id: str, size: int, limit: int) -> None:
        super().__init__(f"media {media_id}: {size} bytes were uploaded, {limit} are allowed")


class UploadSizeMismatch(Rejected):
    code = "upload-size-mismatch"

    def __init__(self, media_id: str, size: int, declared: int) -> None:
        super().__init__(f"media {media_id}: {size} bytes were uploaded, {declared} declared")


class UploadExpired(Rejected):
    code = "upload-expired"

    def __init__(self, media_id: str) -> None:
        super().__init__(f"the upload of media {media_id} was not completed in time")


class ProcessingFailed(PipelineError):
    """An attempt at a photo failed for the reason `code`; `detail` is a sentence for the user."""

    def __init__(self, code: FailureCode, detail: str) -> None:
        super().__init__(f"{code}: {detail}")
        self.code = code
        self.detail = detail


class Undeliverable(PipelineError):
    """A message that no retry can help."""


class MalformedMessage(Undeliverable):
    """The bytes are not a message of ours, or of a version this release does not know."""


class UnroutableMessage(Undeliverable):
    """The broker returned the message: no queue is bound where it was sent."""


class InvalidConfiguration(PipelineError):
    """Settings that cannot work; `problems` holds one full sentence for each."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = tuple(problems)


class IllegalTransition(PipelineError):
    """A trigger was fired in a state where it makes no sense."""

    def __init__(self, media_id: str, state: str, trigger: str) -> None:
        super().__init__(f"media {media_id}: {trigger} is illegal in {state}")
