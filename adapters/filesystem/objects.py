"""Objects as files that appear whole or not at all, whenever the power goes.

A file is the object's bytes and after them a trailer that describes them:

    bytes | JSON: etag, size, content_type | length of the JSON, 4 bytes | 8 bytes that end it

Description and bytes become durable and visible in one rename; a file beside the object, or an
extended attribute, could be lost or left behind alone. The ETag is the SHA-256 of the bytes.
"""

import hashlib
import os
import struct
import tempfile
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import msgspec

from adapters.file_locks import try_lock
from adapters.filesystem.disk import make_folder, prune_folders, sync_folder
from adapters.filesystem.errors import AlreadyStored, ObjectDamaged
from adapters.filesystem.keys import folder_of_prefix, key_to_path, path_to_key
from domain.errors import StoreUnavailable

CHUNK_BYTES = 1 << 20
_END = b"\x89OBJ1\r\n\n"
_LENGTH = struct.Struct(">I")
_FOLDER_TRIES = 100
_NOT_OURS = "a file in the folder of objects is not a whole object of this store"


class Trailer(msgspec.Struct, frozen=True):
    """What the store knows of an object."""

    etag: str
    size: int
    content_type: str


class OpenObject:
    """One stored object, held open: later replacements do not change what is read from it."""

    def __init__(self, descriptor: int) -> None:
        """Takes over the descriptor, also when it raises."""
        self._descriptor = descriptor
        self._position = 0
        try:
            with _damage():
                trailer = _read_trailer(descriptor)
        except BaseException:
            self.close()
            raise
        self.etag = trailer.etag
        self.size = trailer.size
        self.content_type = trailer.content_type

    def read(self) -> bytes:
        """The next megabyte at most; empty at the end."""
        wanted = min(CHUNK_BYTES, self.size - self._position)
        with _damage():
            data = os.pread(self._descriptor, wanted, self._position)
        if len(data) < wanted:
            raise ObjectDamaged("a stored object has become shorter while it was read")
        self._position += len(data)
        return data

    def close(self) -> None:
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)

    def __del__(self) -> None:
        """A reader that was abandoned gives its descriptor back."""
        self.close()


class Incoming:
    """An object under way, in a locked file that nobody reads."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path = path
        self.size = 0
        self._descriptor = descriptor
        self._sha256 = hashlib.sha256()

    @property
    def digest(self) -> bytes:
        """SHA-256 of what was written so far."""
        return self._sha256.digest()

    def write(self, data: bytes | bytearray) -> None:
        self._sha256.update(data)
        self.size += len(data)
        self._append(data)

    def seal(self, content_type: str) -> None:
        """Describe what was written and make it durable."""
        trailer = Trailer(self.digest.hex(), self.size, content_type)
        encoded = msgspec.json.encode(trailer)
        self._append(encoded + _LENGTH.pack(len(encoded)) + _END)
        os.fsync(self._descriptor)

    def discard(self) -> None:
        """The temporary name and the lock; an object that was linked elsewhere stays."""
        self.path.unlink(missing_ok=True)
        os.close(self._descriptor)

    def _append(self, data: bytes | bytearray) -> None:
        view = memoryview(data)
        while view:
            view = view[os.write(self._descriptor, view) :]


class Objects:
    """Blocking operations on the folder; OSError becomes StoreUnavailable."""

    def __init__(self, root: Path) -> None:
        self._objects = root / "objects"
        self._incoming = root / "incoming"

    def prepare(self) -> None:
        """Make the folders and remove what killed processes have left unfinished."""
        with _outages():
            make_folder(self._objects)
            make_folder(self._incoming)
            for path in self._incoming.iterdir():
                lock = try_lock(path)
                if lock is not None:
                    path.unlink(missing_ok=True)
                    os.close(lock)

    def create(self) -> Incoming:
        with _outages():
            self._require_folder()
            self._incoming.mkdir(exist_ok=True)
            while True:
                descriptor, name = tempfile.mkstemp(dir=self._incoming)
                os.close(descriptor)
                lock = try_lock(Path(name))
                if lock is not None:
                    return Incoming(Path(name), lock)

    def write(self, incoming: Incoming, data: bytes | bytearray) -> None:
        with _outages():
            incoming.write(data)

    def publish(self, incoming: Incoming, key: str, content_type: str, *, once: bool) -> None:
        """Let the object appear under `key`; AlreadyStored if `once` and something is there."""
        target = self._objects / key_to_path(key)
        with _outages():
            incoming.seal(content_type)
            _place(incoming.path, target, key, once=once)
            sync_folder(target.parent)

    def discard(self, incoming: Incoming) -> None:
        with _outages():
            incoming.discard()

    def open(self, key: str) -> OpenObject | None:
        path = self._objects / key_to_path(key)
        with _outages():
            try:
                with _damage():
                    descriptor = os.open(path, os.O_RDONLY)
            except (FileNotFoundError, NotADirectoryError):
                self._require_folder()
                return None
            return OpenObject(descriptor)

    def list_keys(self, prefix: str) -> list[str]:
        start = self._objects / folder_of_prefix(prefix)
        with _outages():
            self._require_folder()
            keys = [
                path_to_key(Path(folder, name).relative_to(self._objects))
                for folder, _, names in os.walk(start, onerror=_raise_unless_gone)
                for name in names
            ]
        return sorted(key for key in keys if key.startswith(prefix))

    def delete(self, keys: Sequence[str]) -> None:
        """Not synced: an object that a power cut brings back is swept again."""
        with _outages():
            self._require_folder()
            for path in [self._objects / key_to_path(key) for key in keys]:
                with suppress(FileNotFoundError, NotADirectoryError):
                    path.unlink()
                prune_folders(path.parent, self._objects)

    def _require_folder(self) -> None:
        """Raise OSError where the whole folder is gone: a disk that is not mounted, no deletion."""
        self._objects.stat()


def _place(source: Path, target: Path, key: str, *, once: bool) -> None:
    """Again if a folder was pruned between its making and its use."""
    move: Callable[[Path, Path], object] = os.link if once else os.replace
    for _ in range(_FOLDER_TRIES):
        try:
            make_folder(target.parent)
            move(source, target)
        except FileNotFoundError:
            continue
        except FileExistsError as error:
            raise AlreadyStored(key) from error
        return
    raise StoreUnavailable(f"the folder of {key!r} vanishes as fast as it is made")


def _read_trailer(descriptor: int) -> Trailer:
    size = os.fstat(descriptor).st_size
    tail = _LENGTH.size + len(_END)
    fixed = os.pread(descriptor, tail, max(0, size - tail))
    length = _LENGTH.unpack(fixed[: _LENGTH.size])[0] if fixed.endswith(_END) else size
    if tail + length > size:
        raise ObjectDamaged(_NOT_OURS)
    try:
        trailer = msgspec.json.decode(
            os.pread(descriptor, length, size - tail - length), type=Trailer
        )
    except msgspec.MsgspecError as error:
        raise ObjectDamaged(_NOT_OURS) from error
    if trailer.size + length + tail != size:
        raise ObjectDamaged(_NOT_OURS)
    return trailer


def _raise_unless_gone(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError | NotADirectoryError):
        raise error


@contextmanager
def _damage() -> Generator[None]:
    """For what concerns one object only; that it is not there is no damage."""
    try:
        yield
    except (FileNotFoundError, NotADirectoryError):
        raise
    except OSError as error:
        raise ObjectDamaged(f"an object file: {error.strerror or error}") from error


@contextmanager
def _outages() -> Generator[None]:
    try:
        yield
    except OSError as error:
        raise StoreUnavailable(f"the object files: {error.strerror or error}") from error
