"""Walks over the outer structure of a file: how many frames, and does it end where it should?

Each walk steps over whole segments, so it is quick on the largest files.
"""

import re
import struct
from collections.abc import Callable, Iterator
from contextlib import suppress

from adapters.sandbox.containers import Kind

_JPEG_MARKER = re.compile(rb"\xff+([^\x00\xff\xd0-\xd7])")  # neither stuffing nor a restart
_JPEG_END = 0xD9
_GIF_EXTENSION, _GIF_IMAGE, _GIF_TRAILER = 0x21, 0x2C, 0x3B
_TIFF_PLACES = frozenset({273, 279, 324, 325})  # strip and tile offsets, and their byte counts
_TIFF_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 16: 8}
_TIFF_LETTERS = {3: "H", 4: "I", 16: "Q"}
_TIFF_ENTRIES_MAX = 4096


def count_frames(data: bytes, kind: Kind, most: int) -> int:
    """Frames of an animation; counting stops above `most`.

    Pages of a TIFF and further pictures in a JPEG are not frames: they are never decoded. Those
    of an AVIF only its decoder can count; here it has one.
    """
    count = 0
    if kind is Kind.PNG:
        count = _png_frames(data)
    elif kind is Kind.WEBP:
        count = sum(1 for name in _webp_chunks(data) if name == b"ANMF")
    elif kind is Kind.GIF:
        with suppress(IndexError):
            for block in _gif_blocks(data):
                count += block == _GIF_IMAGE
                if count > most:
                    break
    return max(1, count)


def ends_early(data: bytes, kind: Kind) -> bool:
    """Whether the file stops before its own structure says it is complete."""
    try:
        return not _COMPLETE[kind](data)
    except (IndexError, OverflowError, struct.error):
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
    return any(name == b"IEND" for name, _ in _png_chunks(data))


def _png_frames(data: bytes) -> int:
    """What the chunk `acTL` says, which is only one if it stands before the pixels."""
    for name, start in _png_chunks(data):
        if name == b"IDAT":
            break
        if name == b"acTL":
            return int.from_bytes(data[start : start + 4])
    return 1


def _png_chunks(data: bytes) -> Iterator[tuple[bytes, int]]:
    """The name of each chunk, and where its data begins."""
    position = 8
    while position + 12 <= len(data):
        yield data[position + 4 : position + 8], position + 8
        position += 12 + int.from_bytes(data[position : position + 4])


def _webp(data: bytes) -> bool:
    return len(data) >= 8 + int.from_bytes(data[4:8], "little")


def _webp_chunks(data: bytes) -> Iterator[bytes]:
    position = 12
    while position + 8 <= len(data):
        yield data[position : position + 4]
        size = int.from_bytes(data[position + 4 : position + 8], "little")
        position += 8 + size + size % 2


def _gif(data: bytes) -> bool:
    return all(_gif_blocks(data))


def _gif_blocks(data: bytes) -> Iterator[int]:
    """The type of each block, once its end has been seen; raises IndexError at a cut."""
    position = 13 + _color_table(data[10])
    while position != len(data) and data[position] != _GIF_TRAILER:  # some lack the trailer
        kind = data[position]
        if kind == _GIF_IMAGE:
            position += 11 + _color_table(data[position + 9])
        elif kind == _GIF_EXTENSION:
            position += 2
        else:
            return  # damaged rather than cut
        while data[position]:
            position += 1 + data[position]
        position += 1
        yield kind


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
    """Whether the values of the first directory, and the strips or tiles, lie in the file."""
    order = "<" if data[:2] == b"II" else ">"
    big = data[2:4] in (b"+\x00", b"\x00+")
    number = order + ("Q" if big else "I")
    (start,) = struct.unpack_from(number, data, 8 if big else 4)
    (entries,) = struct.unpack_from(number if big else order + "H", data, start)
    start += 8 if big else 2
    values: dict[int, tuple[int, ...]] = {}
    for _ in range(min(entries, _TIFF_ENTRIES_MAX)):
        tag, kind = struct.unpack_from(order + "HH", data, start)
        (count,) = struct.unpack_from(number, data, start + 4)
        inline = start + 4 + struct.calcsize(number)
        start = inline + struct.calcsize(number)
        size = count * _TIFF_SIZES.get(kind, 0)
        where = inline
        if size > start - inline:
            (where,) = struct.unpack_from(number, data, inline)
        if where + size > len(data):
            return False
        if tag in _TIFF_PLACES and kind in _TIFF_LETTERS:
            layout = f"{order}{count}{_TIFF_LETTERS[kind]}"
            values[tag] = struct.unpack_from(layout, data, where)
    return all(
        offset + size <= len(data)
        for offsets, sizes in ((273, 279), (324, 325))
        for offset, size in zip(values.get(offsets, ()), values.get(sizes, ()), strict=False)
    )


_COMPLETE: dict[Kind, Callable[[bytes], bool]] = {
    Kind.JPEG: _jpeg,
    Kind.PNG: _png,
    Kind.WEBP: _webp,
    Kind.GIF: _gif,
    Kind.AVIF: _avif,
    Kind.TIFF: _tiff,
}
