"""Object keys as paths, one to one, whatever characters they hold.

Each segment of a key is percent-encoded, so a path never climbs or ends early. A folder's name
ends in `+`, which the encoding never produces: `a` and `a/b` can both be objects. Segments too
long for a file name go on in folders whose names end in `&`.

    media/01JD/original.jpg  ->  media+/01JD+/original.jpg
"""

from pathlib import Path, PurePosixPath
from urllib.parse import quote, unquote

from adapters.filesystem.errors import InvalidKey

KEY_BYTES_MAX = 1024  # as in S3
_PIECE_CHARACTERS = 200
_FOLDER, _GOES_ON = "+", "&"
_EMPTY = "%"  # no encoding of anything
_DOTS = {".": "%2E", "..": "%2E%2E"}


def key_to_path(key: str) -> PurePosixPath:
    """Relative to the folder of objects. Raises InvalidKey if no store would take the key."""
    try:
        size = len(key.encode())
    except UnicodeEncodeError as error:
        raise InvalidKey("is not valid Unicode") from error
    if not 1 <= size <= KEY_BYTES_MAX:
        raise InvalidKey(f"must have 1 to {KEY_BYTES_MAX} bytes")
    *folders, name = _segments(key)
    return PurePosixPath(*_folder_names(folders), *_pieces(name))


def folder_of_prefix(prefix: str) -> PurePosixPath:
    """The folder below which every key with this prefix lies."""
    if "/" not in prefix:
        return PurePosixPath()
    return PurePosixPath(*_folder_names(_segments(prefix.rpartition("/")[0])))


def path_to_key(path: Path) -> str:
    """The key whose path, relative to the folder of objects, this is."""
    *folders, name = path.parts
    encoded = ""
    for folder in folders:
        encoded += folder[:-1] if folder.endswith(_GOES_ON) else _decodable(folder[:-1]) + "/"
    return unquote(encoded + _decodable(name))


def _segments(key: str) -> list[str]:
    return [quote(segment, safe="") or _EMPTY for segment in key.split("/")]


def _folder_names(segments: list[str]) -> list[str]:
    names: list[str] = []
    for segment in segments:
        *pieces, last = _pieces(segment)
        names += [*pieces, last + _FOLDER]
    return names


def _pieces(segment: str) -> list[str]:
    size = _PIECE_CHARACTERS
    pieces = [segment[start : start + size] for start in range(0, len(segment), size)]
    return [*(piece + _GOES_ON for piece in pieces[:-1]), _DOTS.get(pieces[-1], pieces[-1])]


def _decodable(name: str) -> str:
    return "" if name == _EMPTY else name
