"""The few system calls Python has no function for."""

import ctypes
import os
from typing import Final

PR_SET_PDEATHSIG: Final = 1
PR_GET_SECCOMP: Final = 21
PR_SET_SECCOMP: Final = 22
PR_SET_NO_NEW_PRIVS: Final = 38
_CAPABILITY_VERSION_3 = 0x20080522

_libc = ctypes.CDLL(None, use_errno=True)


def prctl(option: int, argument: int | ctypes.c_void_p = 0, second: object = 0) -> int:
    """The system call of this name; raises OSError."""
    arguments = (option, argument, second, 0, 0)
    return _checked("prctl", *(_word(a) for a in arguments))


def syscall(number: int, *arguments: object) -> int:
    """Any call the C library has no name for, by number; raises OSError."""
    return _checked("syscall", _word(number), *(_word(a) for a in arguments))


def drop_capabilities() -> None:
    """Give up every privilege of root; root then is an ordinary user who owns root's files."""
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
    nothing = (ctypes.c_uint32 * 6)()
    _checked("capset", ctypes.byref(header), ctypes.byref(nothing))


def _word(value: object) -> object:
    """Integers as full machine words: ctypes passes 32 bits otherwise."""
    return ctypes.c_ulong(value) if isinstance(value, int) else value


def _checked(function: str, *arguments: object) -> int:
    result = int(_libc[function](*arguments))
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{function}: {os.strerror(number)}")
    return result
