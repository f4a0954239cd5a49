"""What the bytes of a file say about its format, without decoding anything.

Used inside the child, and by the worker on the first bytes of what a child has written.
"""

from enum import StrEnum

from domain.errors import ProcessingFailed
from domain.failure import FailureCode

SNIFF_BYTES = 64


class Kind(StrEnum):
    """The formats that are decoded; every other one is refused unseen."""

    JPEG = "JPEG"
    PNG = "PNG"
    WEBP = "WebP"
    GIF = "GIF"
    AVIF = "AVIF"
    TIFF = "TIFF"


CONTENT_TYPES: dict[str, Kind] = {
    "image/jpeg": Kind.JPEG,
    "image/jpg": Kind.JPEG,
    "image/png": Kind.PNG,
    "image/apng": Kind.PNG,
    "image/webp": Kind.WEBP,
    "image/gif": Kind.GIF,
    "image/avif": Kind.AVIF,
    "image/tiff": Kind.TIFF,
}
_SIGNATURES: tuple[tuple[bytes, Kind], ...] = (
    (b"\xff\xd8\xff", Kind.JPEG),
    (b"\x89PNG\r\n\x1a\n", Kind.PNG),
    (b"GIF87a", Kind.GIF),
    (b"GIF89a", Kind.GIF),
    (b"II*\x00", Kind.TIFF),
    (b"MM\x00*", Kind.TIFF),
    (b"II+\x00", Kind.TIFF),  # BigTIFF
    (b"MM\x00+", Kind.TIFF),
)
_AVIF_BRANDS = frozenset({b"avif", b"avis"})
_KNOWN_BUT_REFUSED: tuple[tuple[bytes, str], ...] = (
    (b"BM", "a BMP"),
    (b"8BPS", "a Photoshop document"),
    (b"%PDF", "a PDF"),
    (b"%!PS", "PostScript"),
    (b"<svg", "an SVG"),
    (b"<?xml", "XML or SVG"),
    (b"\xff\x0a", "JPEG XL"),
    (b"\x00\x00\x00\x0cJXL ", "JPEG XL"),
    (b"\x00\x00\x00\x0cjP  ", "JPEG 2000"),
)


def sniff(head: bytes) -> Kind | None:
    """The format that the first `SNIFF_BYTES` bytes of a file announce, if it is one of ours."""
    for signature, kind in _SIGNATURES:
        if head.startswith(signature):
            return kind
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return Kind.WEBP
    return Kind.AVIF if _brands(head) & _AVIF_BRANDS else None


def identify(data: bytes, content_type: str) -> Kind:
    """The format of `data`; raises ProcessingFailed if it is not ours or not the declared one."""
    kind = sniff(data[:SNIFF_BYTES])
    if kind is None:
        raise ProcessingFailed(FailureCode.UNSUPPORTED_FORMAT, _unsupported(data))
    if CONTENT_TYPES.get(content_type.lower()) is not kind:
        raise ProcessingFailed(
            FailureCode.CONTENT_TYPE_MISMATCH,
            f"The file is {kind.value} but was declared as {content_type!r}; "
            "upload it again with the type it has.",
        )
    return kind


def _unsupported(data: bytes) -> str:
    supported = "JPEG, PNG, WebP, GIF, AVIF or TIFF"
    if not data:
        return f"The file is empty; upload a photo as {supported}."
    names = [name for magic, name in _KNOWN_BUT_REFUSED if data.startswith(magic)]
    if _brands(data[:SNIFF_BYTES]):
        names.append("HEIC or another video-like format")
    what = f"The file seems to be {names[0]}" if names else "The file is of no known image format"
    return f"{what}; save the photo as {supported} and upload that."


def _brands(head: bytes) -> frozenset[bytes]:
    """Major and compatible brands of an ISO media file, as far as `head` goes."""
    if head[4:8] != b"ftyp":
        return frozenset()
    size = min(int.from_bytes(head[:4]), len(head))
    return frozenset({head[8:12], *(head[i : i + 4] for i in range(16, size - 3, 4))})


def declare_alpha(webp: bytes) -> bytes:
    """The animated WebP with the alpha bit of its VP8X chunk, which comes first, set.

    libwebp cuts frames down to their visible part and then forgets to say that the rest of the
    canvas is transparent.
    """
    assert webp[12:16] == b"VP8X"
    return webp[:20] + bytes([webp[20] | 0x10]) + webp[21:]
