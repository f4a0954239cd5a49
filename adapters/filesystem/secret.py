"""The secret behind the signed links, kept across restarts."""

import os
import tempfile
from collections.abc import Callable
from pathlib import Path

from adapters.filesystem.disk import sync_folder
from adapters.filesystem.signing import SECRET_BYTES_MIN
from domain.errors import InvalidConfiguration


def load_or_create_secret(path: Path, random_bytes: Callable[[int], bytes]) -> bytes:
    """The secret in the file `path`, made (readable by its owner only) if there is none.

    Processes that start together agree on one. Raises InvalidConfiguration if the file is too
    short to be a secret, or if others may read it.
    """
    if not path.exists():
        _create(path, random_bytes(SECRET_BYTES_MIN))
    if path.stat().st_mode & 0o077:
        raise InvalidConfiguration(
            [f"The secret in {path} can be read by others; allow it to its owner only (0600)."]
        )
    secret = path.read_bytes()
    if len(secret) < SECRET_BYTES_MIN:
        raise InvalidConfiguration(
            [f"The secret in {path} is too short; remove the file and a new one is made."]
        )
    return secret


def _create(path: Path, secret: bytes) -> None:
    """Whole or not at all; whoever comes second keeps what is there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(secret)
            file.flush()
            os.fsync(file.fileno())
        try:
            path.hardlink_to(name)
        except FileExistsError:
            return
        sync_folder(path.parent)
    finally:
        Path(name).unlink()
