"""How much memory a photo will take, from its header: an upper estimate, by measurement.

libvips streams where the format allows it; the figures say how far each loader is from that, in
bytes a pixel of the whole picture. `tests/images/test_memory.py` holds the estimate to them.
"""

from adapters.sandbox.containers import Kind

_BASE_BYTES = 72 << 20  # the interpreter, libvips and its codecs
_LOADER = {
    Kind.JPEG: 0,
    Kind.PNG: 1,
    Kind.WEBP: 10,
    Kind.GIF: 6,
    Kind.AVIF: 17,
    Kind.TIFF: 6,
}
_NOT_STREAMED = 8  # progressive and interlaced files, and values that must be seen twice
_ALPHA = 4  # colours are multiplied by it in 32 bits
_TARGET = 8  # the largest variant: scaled, turned, encoded
_KEPT = 8  # each further frame of an animation


def estimate(
    kind: Kind,
    *,
    file_bytes: int,
    whole: int,
    target: int,
    alpha: bool,
    streamed: bool,
    frames: int,
) -> int:
    """Bytes. `whole` and `target` are pixels of a frame, `frames` those that are kept."""
    each = _LOADER[kind] + (_ALPHA if alpha else 0) + (0 if streamed else _NOT_STREAMED)
    further = (frames - 1) * (whole + target) * _KEPT
    return _BASE_BYTES + 2 * file_bytes + whole * each + target * _TARGET + further
