"""Checks what a child claims against the recipe and the disk, as if it had been taken over."""

import hashlib
import os
import stat
from pathlib import Path

from adapters.sandbox import containers
from adapters.sandbox.geometry import place
from adapters.sandbox.messages import PART, Decoded, Failed, Finished
from application.ports import RenderedFile, RenderJob
from domain.errors import ProcessingFailed
from domain.failure import FailureCode
from domain.recipe import CONTENT_TYPES, OutputFormat, VariantSpec

_CHUNK_BYTES = 1 << 20
# Non-blocking, should the child have put a pipe in the place of the file.
_INPUT_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_AUTO = frozenset({OutputFormat.JPEG, OutputFormat.WEBP, OutputFormat.PNG})
_REPORTABLE = frozenset(
    {
        FailureCode.UNSUPPORTED_FORMAT,
        FailureCode.CONTENT_TYPE_MISMATCH,
        FailureCode.IMAGE_TRUNCATED,
        FailureCode.IMAGE_CORRUPT,
        FailureCode.TOO_MANY_PIXELS,
        FailureCode.TOO_MANY_BYTES,
        FailureCode.DECODE_OUT_OF_MEMORY,
    }
)


class Forged(Exception):
    """The child's answer can't be true."""


class Inspector:
    """Follows one photo. `max_bytes` bounds each variant."""

    def __init__(self, job: RenderJob, max_bytes: int) -> None:
        self._folder = job.folder
        self._expected = {spec.name: spec for spec in job.recipe.variants}
        self._max_bytes = max_bytes
        self._size = (0, 0)

    def decoded(self, answer: Decoded) -> None:
        """Remember the size of the original; variants must follow from it."""
        if answer.format not in set(containers.Kind):
            raise Forged(f"unknown format {answer.format!r}")
        self._size = answer.width, answer.height

    def collect(self, answer: Finished) -> RenderedFile:
        """Check the answer; copy the variant to where the child can't change it any more."""
        spec = self._expected.pop(answer.name, None)
        if spec is None:
            raise Forged(f"variant {answer.name!r} is not in the recipe, or came twice")
        placement = place(*self._size, spec)
        if (answer.width, answer.height) != (placement.width, placement.height):
            raise Forged(f"variant {spec.name} is {answer.width} x {answer.height}")
        if answer.content_type not in _content_types(spec):
            raise Forged(f"variant {spec.name} is {answer.content_type!r}")
        path = self._folder / spec.name
        if answer.bytes > self._max_bytes:
            raise Forged(f"variant {spec.name} is larger than {self._max_bytes} bytes")
        sha256 = _copy(self._folder / (spec.name + PART), path, answer)
        return RenderedFile(
            name=spec.name,
            path=path,
            content_type=answer.content_type,
            width=answer.width,
            height=answer.height,
            bytes=answer.bytes,
            sha256=sha256,
        )

    def failure(self, answer: Failed) -> ProcessingFailed:
        """The error a child reports, if it is one that a child may report."""
        if answer.code not in _REPORTABLE or not answer.detail.isprintable():
            raise Forged(f"a child cannot know of {answer.code}")
        return ProcessingFailed(answer.code, answer.detail)

    def check_complete(self) -> None:
        """Raise unless every variant has been collected."""
        if self._expected:
            raise Forged(f"variants are missing: {', '.join(self._expected)}")


def _copy(source: Path, target: Path, answer: Finished) -> str:
    """Copy what the answer promises, and not a byte more; returns its SHA-256."""
    digest, size = hashlib.sha256(), 0
    descriptor = os.open(source, _INPUT_FLAGS)
    with os.fdopen(descriptor, "rb") as file, target.open("xb") as copy:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode) or status.st_nlink != 1:
            raise Forged(f"{source.name} is not an ordinary file")
        while chunk := file.read(_CHUNK_BYTES):
            if size == 0:
                _check_signature(chunk, answer.content_type)
            size += len(chunk)
            if size > answer.bytes:
                break
            digest.update(chunk)
            copy.write(chunk)
    if size != answer.bytes:
        raise Forged(f"variant {answer.name} has not the {answer.bytes} bytes it should have")
    return digest.hexdigest()


def _check_signature(head: bytes, content_type: str) -> None:
    kind = containers.sniff(head[: containers.SNIFF_BYTES])
    if kind is not containers.CONTENT_TYPES[content_type]:
        raise Forged(f"the bytes of a variant are not {content_type}")


def _content_types(spec: VariantSpec) -> set[str]:
    formats = _AUTO if spec.format is OutputFormat.AUTO else {spec.format}
    return {CONTENT_TYPES[name] for name in formats}
