"""Landlock: a process gives up the file system and TCP for good (Linux 5.13 and later).

No rule is added, so nothing at all can be opened, made or removed by path any more. What the
process needs it must have opened before. `landlock(7)` lists the rights by ABI version.
"""

import ctypes
from typing import Final

from adapters.sandbox.libc import syscall

ABI_NETWORK: Final = 4  # the first version that restricts TCP
ABI_SCOPE: Final = 6  # the first that fences off abstract unix sockets and signals

_CREATE_RULESET, _RESTRICT_SELF = 444, 446  # the same numbers on every architecture
_VERSION_FLAG = 1
_FS_RIGHTS = {1: 13, 2: 14, 3: 15, 5: 16}  # how many right bits each ABI version knows
_TCP_BIND_AND_CONNECT = 0b11
_ABSTRACT_SOCKETS_AND_SIGNALS = 0b11


class _RulesetAttr(ctypes.Structure):
    _fields_ = (
        ("handled_access_fs", ctypes.c_uint64),
        ("handled_access_net", ctypes.c_uint64),
        ("scoped", ctypes.c_uint64),
    )


def abi() -> int:
    """The kernel's Landlock version; 0 where there is none or it is switched off."""
    try:
        return syscall(_CREATE_RULESET, None, 0, _VERSION_FLAG)
    except OSError:
        return 0


def give_up_files_and_network(version: int) -> None:
    """Deny this process everything that Landlock `version` can deny. Needs no_new_privs."""
    rights = max(bits for since, bits in _FS_RIGHTS.items() if since <= version)
    attr = _RulesetAttr((1 << rights) - 1)
    size = 8
    if version >= ABI_NETWORK:
        attr.handled_access_net = _TCP_BIND_AND_CONNECT
        size = 16
    if version >= ABI_SCOPE:
        attr.scoped = _ABSTRACT_SOCKETS_AND_SIGNALS
        size = 24
    ruleset = syscall(_CREATE_RULESET, ctypes.byref(attr), size, 0)
    syscall(_RESTRICT_SELF, ruleset, 0)
