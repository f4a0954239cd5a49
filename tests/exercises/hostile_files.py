"""Writes files that no pipeline should trust, into a folder: hostile/ if none is named.

.venv/bin/python -m tests.exercises.hostile_files
"""

import struct
import sys
import zlib
from pathlib import Path

from entrypoints.demo import draw_photo

SIDE = 20_000
SIGNATURE = b"\x89PNG\r\n\x1a\n"


def huge_header() -> bytes:
    """A PNG that promises 400 megapixels and holds none."""
    header = _chunk(b"IHDR", struct.pack(">IIBBBBB", SIDE, SIDE, 8, 2, 0, 0, 0))
    return SIGNATURE + header + _chunk(b"IDAT", zlib.compress(b"")) + _chunk(b"IEND", b"")


def _chunk(kind: bytes, data: bytes) -> bytes:
    checksum = struct.pack(">I", zlib.crc32(kind + data))
    return struct.pack(">I", len(data)) + kind + data + checksum


def main() -> None:
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else "hostile")
    folder.mkdir(parents=True, exist_ok=True)
    photo = draw_photo()
    files = {
        "huge.png": huge_header(),
        "half.jpg": photo[: len(photo) // 2],
        "not-a-photo.jpg": b"#!/bin/sh\necho no\n",
        "declared-as-png.png": photo,
    }
    for name, body in files.items():
        (folder / name).write_bytes(body)
        print(f"{folder / name}  {len(body):,} bytes")


if __name__ == "__main__":
    main()
