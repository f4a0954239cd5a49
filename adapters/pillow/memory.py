"""How much memory a photo will take, from its header: an upper estimate, by measurement.

The figures are bytes a pixel beyond the picture itself, found by decoding 50-megapixel files of
every kind and reading the children's largest resident sizes (`tests/images/test_memory.py` holds
the estimate to them).
"""

from dataclasses import dataclass

from adapters.sandbox.containers import Kind

_BASE_BYTES = 80 << 20  # the interpreter, Pillow and its codecs
_STORED = {"1": 1, "L": 1, "P": 1}  # bytes a pixel in memory; every other mode takes 4
_STORED_DEEP, _STORED_FULL = 2, 4
_CODEC = {Kind.WEBP: 13, Kind.AVIF: 8}  # canvases and planes beside the picture
_PROGRESSIVE = 6  # coefficients of the whole picture, at full size
_ENCODER = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """What the estimate needs to know. `decoded` and `target` are pixels of a frame."""

    kind: Kind
    mode: str
    file_bytes: int
    whole: int  # pixels as the file has them
    decoded: int  # pixels that leave the decoder, fewer where it scales
    target: int  # pixels of the whole picture at the scale of the largest variant
    converted: bool  # to another mode or another way up
    progressive: bool
    frames: int = 1


def estimate(header: Header) -> int:
    """Bytes: the largest of decoding, converting and scaling, which follow one another."""
    stored = _STORED_DEEP if header.mode.startswith("I;16") else _STORED.get(header.mode)
    stored = stored or _STORED_FULL
    grey = header.mode in ("1", "L") or header.mode.startswith("I;16")
    working = 1 if grey else _STORED_FULL
    codec = _CODEC.get(header.kind, 0)
    decoding = header.decoded * (stored + codec)
    if header.progressive:
        decoding += header.whole * _PROGRESSIVE
    deep = header.mode in ("I", "F") or header.mode.startswith("I;16")
    passing = _STORED_FULL if deep else 0  # deep values pass through 32 bits
    converting = header.decoded * (stored + passing + working + codec) if header.converted else 0
    between = (header.decoded + header.target) // 2  # scaled across, not yet down
    scaling = working * (header.decoded + between + header.target)
    if header.mode in ("LA", "RGBA", "P"):
        scaling += _STORED_FULL * header.decoded  # alpha is multiplied in on a copy
    encoding = header.target * (2 * working + _ENCODER)
    several = (header.frames - 1) * (header.decoded + header.target) * _STORED_FULL * 2
    largest = max(decoding, converting, scaling + header.decoded * codec, encoding)
    return _BASE_BYTES + 2 * header.file_bytes + largest + several
