"""The embedded set's object store: files, and signed links that the API serves."""

from adapters.filesystem.errors import TransferRefused
from adapters.filesystem.objects import OpenObject
from adapters.filesystem.secret import load_or_create_secret
from adapters.filesystem.store import FilesystemStore

__all__ = ["FilesystemStore", "OpenObject", "TransferRefused", "load_or_create_secret"]
