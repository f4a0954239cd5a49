"""Why a signed link was not honoured: the status and code with which an S3 store answers."""

from domain.errors import PipelineError, StoreUnavailable


class ObjectDamaged(StoreUnavailable):
    """This one file cannot be read, or is no whole object. The store may be well."""


class TransferRefused(PipelineError):
    """A PUT or GET that the store refuses; `status` is HTTP's, `code` is S3's name for it."""

    status = 400
    code = "InvalidRequest"


class SignatureDoesNotMatch(TransferRefused):
    """Not signed by us, or for another method, key, time or header."""

    status = 403
    code = "SignatureDoesNotMatch"

    def __init__(self) -> None:
        super().__init__("the link was not signed for this request and these headers")


class LinkExpired(TransferRefused):
    status = 403
    code = "AccessDenied"

    def __init__(self) -> None:
        super().__init__("the link has expired")


class ObjectNotFound(TransferRefused):
    status = 404
    code = "NoSuchKey"

    def __init__(self, key: str) -> None:
        super().__init__(f"there is no object {key!r}")


class LengthRequired(TransferRefused):
    status = 411
    code = "MissingContentLength"

    def __init__(self) -> None:
        super().__init__("an upload needs a valid Content-Length header")


class AlreadyStored(TransferRefused):
    """The upload was write-once, and something is there."""

    status = 412
    code = "PreconditionFailed"

    def __init__(self, key: str) -> None:
        super().__init__(f"object {key!r} was already uploaded")


class BodyTooLarge(TransferRefused):
    status = 413
    code = "EntityTooLarge"

    def __init__(self, size: int, limit: int) -> None:
        super().__init__(f"the upload has {size} bytes, {limit} are allowed")


class BodyIncomplete(TransferRefused):
    code = "IncompleteBody"

    def __init__(self, size: int, announced: int) -> None:
        super().__init__(f"the upload has {size} bytes, its Content-Length was {announced}")


class ChecksumMismatch(TransferRefused):
    code = "BadDigest"

    def __init__(self) -> None:
        super().__init__("the SHA-256 of the upload is not the one announced")


class InvalidKey(TransferRefused):
    code = "InvalidObjectName"

    def __init__(self, reason: str) -> None:
        super().__init__(f"the object key {reason}")
