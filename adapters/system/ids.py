"""Identifiers and chance from the operating system."""

import random
import secrets

from ulid import PureRandomPolicy, ULIDGenerator

from application.ports import Ids

WORKER_ID_RANDOM_CHARACTERS = 12
_BASE32 = "abcdefghijklmnopqrstuvwxyz234567"


class SystemIds(Ids):
    """ULIDs of 80 fresh random bits each.

    The library's default counts upwards within a millisecond, so that one id would give away
    the next; a media id must not be guessable from another.
    """

    def __init__(self) -> None:
        self._ulids = ULIDGenerator(policy=PureRandomPolicy())

    def media_id(self) -> str:
        return str(self._ulids.generate())

    def fraction(self) -> float:
        return random.random()  # noqa: S311 - it spreads retries, it protects nothing

    def worker_id(self) -> str:
        """A new name such as `worker-k3q7…`; ask once per start.

        Never the host's name: a restarted worker must not look like the one whose lease it
        finds, or orphans would seem alive.
        """
        letters = (secrets.choice(_BASE32) for _ in range(WORKER_ID_RANDOM_CHARACTERS))
        return "worker-" + "".join(letters)


def random_bytes(count: int) -> bytes:
    """Bytes that nobody can guess, for secrets."""
    return secrets.token_bytes(count)
