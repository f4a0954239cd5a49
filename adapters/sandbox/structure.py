"""Walks over the outer structure of a file: does it end where the format says it ends?

Called only for files that a decoder has refused, to tell a file cut short from a damaged one.
Each walk steps over whole segments, so it is quick on the largest files.
"""

import re
import struct
from collections.abc import Callable

from adapters.sandbox.containers import Kind

_JPEG_MARKER = re.compile(rb"\xff+([^\x00\xff\xd0-\xd7])")  # neither stuffing nor a restart
_JPEG_SCAN, _JPEG_END = 0xDA, 0xD9
_GIF_EXTENSION, _GIF_IMAGE, _GIF_TRAILER = 0x21, 0x2C, 0x3B
_TIFF_OFFSETS = {273: 279, 324: 325}  # strip and tile offsets: their byte counts
_TIFF_SIZES = {3: "H", 4: "I", 16: "Q"}


def ends_early(data: bytes, kind: Kind) -> bool:
    """Whether the file stops before its own structure says it is complete."""
    try:
        return not _COMPLETE[kind](data)
    except (IndexError, struct.error):
        return True


def _jpeg(data: bytes) -> bool:
    position = 2
    while found := _JPEG_MARKER.search(data, position):
        marker, position = found[1][0], found.end()
        if marker == _JPEG_END:
            return True
        position += int.from_bytes(data[position : position + 2])
    return False


def _png(data: bytes) -> bool:
    position = 8
    while position + 12 <= len(data):
        if data[position + 4 : position + 8] == b"IEND":
            return True
        position += 12 + int.from_bytes(data[position : position + 4])
    return False


def _webp(data: bytes) -> bool:
    return len(data) >= 8 + int.from_bytes(data[4:8], "little")


def _gif(data: bytes) -> bool:
    position = 13 + _color_table(data[10])
    while data[position] != _GIF_TRAILER:
        if data[position] == _GIF_IMAGE:
            position += 11 + _color_table(data[position + 9])
        elif data[position] == _GIF_EXTENSION:
            position += 2
        else:
            return True  # damaged rather than cut
        while data[position]:
            position += 1 + data[position]
        position += 1
    return True


def _color_table(flags: int) -> int:
    return 3 << ((flags & 7) + 1) if flags & 0x80 else 0


def _avif(data: bytes) -> bool:
    position = 0
    while position < len(data):
        size = int.from_bytes(data[position : position + 4])
        if size == 0:
            return True
        if size == 1:
            size = int.from_bytes(data[position + 8 : position + 16])
        position += max(size, 8)
    return position == len(data)


def _tiff(data: bytes) -> bool:
    """Whether the first directory and the strips or tiles it names lie within the file."""
    order = "<" if data[:2] == b"II" else ">"
    big = data[2:4] in (b"+\x00", b"\x00+")
    where, count, entry = ("Q", "Q", "HHQ8s") if big else ("I", "H", "HHI4s")
    (start,) = struct.unpack_from(order + where, data, 8 if big else 4)
    (entries,) = struct.unpack_from(order + count, data, start)
    start += struct.calcsize(order + count)
    values = {
        tag: values
        for tag, values in (
            _tiff_entry(data, order, entry, start + i * struct.calcsize(order + entry))
            for i in range(min(entries, 4096))
        )
        if values
    }
    return all(
        offset + size <= len(data)
        for offsets, sizes in _TIFF_OFFSETS.items()
        for offset, size in zip(values.get(offsets, ()), values.get(sizes, ()), strict=False)
    )


def _tiff_entry(data: bytes, order: str, entry: str, position: int) -> tuple[int, tuple[int, ...]]:
    """A tag and its integers; no integers for tags this module does not care about."""
    tag, kind, count, inline = struct.unpack_from(order + entry, data, position)
    if tag not in (*_TIFF_OFFSETS, *_TIFF_OFFSETS.values()) or kind not in _TIFF_SIZES:
        return tag, ()
    layout = f"{order}{count}{_TIFF_SIZES[kind]}"
    if struct.calcsize(layout) <= len(inline):
        return tag, struct.unpack_from(layout, inline)
    (start,) = struct.unpack(order + ("Q" if len(inline) == 8 else "I"), inline)  # noqa: PLR2004
    return tag, struct.unpack_from(layout, data, start)


_COMPLETE: dict[Kind, Callable[[bytes], bool]] = {
    Kind.JPEG: _jpeg,
    Kind.PNG: _png,
    Kind.WEBP: _webp,
    Kind.GIF: _gif,
    Kind.AVIF: _avif,
    Kind.TIFF: _tiff,
}
