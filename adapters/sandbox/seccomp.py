"""A seccomp filter: the child keeps the few system calls that decoding needs (seccomp(2)).

An allow-list: everything else fails with EPERM, so a decoder that tries gets an ordinary error.
Memory, time, locks, reading and writing of open files, ending itself. Four calls depend on an
argument: `clone` makes threads but no processes, `tgkill` reaches this process only (abort needs
it), `prlimit64` likewise, and `mmap` and `mprotect` make nothing executable. `clone3` hides its
flags in memory a filter cannot read, so it answers ENOSYS and the C library uses `clone`.
"""

import ctypes
import errno
import os
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Final

from adapters.sandbox.libc import PR_GET_SECCOMP, PR_SET_SECCOMP, prctl

_MODE_FILTER = 2
_RET_KILL_PROCESS, _RET_ERRNO, _RET_ALLOW = 0x80000000, 0x00050000, 0x7FFF0000
_LD_ABS, _JEQ, _JGE, _JSET, _RET = 0x20, 0x15, 0x35, 0x45, 0x06
_OFFSET_NR, _OFFSET_ARCH, _OFFSET_ARGS = 0, 4, 16  # struct seccomp_data, little endian
_X32_BIT = 0x40000000  # x86-64 has a second table of calls above this
_CLONE_THREAD = 0x10000
_PROT_EXEC = 0x4
_OWN_PID = 0xFFFFFFFF  # stands for the number of the process, until it is known

# Numbers from the kernel's syscall_64.tbl (x86-64) and asm-generic/unistd.h (aarch64).
_X86_64: Final[Mapping[str, int]] = {
    "read": 0, "write": 1, "close": 3, "fstat": 5, "lseek": 8, "mmap": 9, "mprotect": 10,
    "munmap": 11, "brk": 12, "rt_sigaction": 13, "rt_sigprocmask": 14, "rt_sigreturn": 15,
    "pread64": 17, "pwrite64": 18, "readv": 19, "writev": 20, "sched_yield": 24, "mremap": 25,
    "madvise": 28, "nanosleep": 35, "getpid": 39, "clone": 56, "exit": 60, "ftruncate": 77,
    "gettimeofday": 96, "getrusage": 98, "sysinfo": 99, "sigaltstack": 131, "gettid": 186,
    "futex": 202, "sched_getaffinity": 204, "clock_gettime": 228, "clock_nanosleep": 230,
    "exit_group": 231, "tgkill": 234, "set_robust_list": 273, "prlimit64": 302,
    "getrandom": 318, "membarrier": 324, "rseq": 334, "clone3": 435,
}  # fmt: skip
_AARCH64: Final[Mapping[str, int]] = {
    "read": 63, "write": 64, "close": 57, "fstat": 80, "lseek": 62, "mmap": 222, "mprotect": 226,
    "munmap": 215, "brk": 214, "rt_sigaction": 134, "rt_sigprocmask": 135, "rt_sigreturn": 139,
    "pread64": 67, "pwrite64": 68, "readv": 65, "writev": 66, "sched_yield": 124, "mremap": 216,
    "madvise": 233, "nanosleep": 101, "getpid": 172, "clone": 220, "exit": 93, "ftruncate": 46,
    "gettimeofday": 169, "getrusage": 165, "sysinfo": 179, "sigaltstack": 132, "gettid": 178,
    "futex": 98, "sched_getaffinity": 123, "clock_gettime": 113, "clock_nanosleep": 115,
    "exit_group": 94, "tgkill": 131, "set_robust_list": 99, "prlimit64": 261,
    "getrandom": 278, "membarrier": 283, "rseq": 293, "clone3": 435,
}  # fmt: skip
_TABLES = {"x86_64": (0xC000003E, _X86_64), "aarch64": (0xC00000B7, _AARCH64)}


@dataclass(frozen=True, slots=True)
class _Instruction:
    """One `struct sock_filter`: operation, jump if true, jump if false, constant."""

    code: int
    constant: int
    yes: int = 0
    no: int = 0


class _SockFilter(ctypes.Structure):
    _fields_ = (
        ("code", ctypes.c_uint16),
        ("jt", ctypes.c_uint8),
        ("jf", ctypes.c_uint8),
        ("k", ctypes.c_uint32),
    )


class _SockFprog(ctypes.Structure):
    _fields_ = (("len", ctypes.c_uint16), ("filter", ctypes.POINTER(_SockFilter)))


def available() -> bool:
    """Whether the kernel filters system calls and this machine's numbers are known."""
    if platform.machine() not in _TABLES:
        return False
    try:
        prctl(PR_GET_SECCOMP)
    except OSError:
        return False
    return True


def prepare() -> None:
    """Make the filter, so that children which are forked later need not."""
    _filter()


def install() -> None:
    """Filter this process from now on; it cannot be undone. Needs no_new_privs."""
    filters, own_pid = _filter()
    filters[own_pid].k = os.getpid()
    program = _SockFprog(len(filters), filters)
    prctl(PR_SET_SECCOMP, _MODE_FILTER, ctypes.byref(program))


@cache
def _filter() -> "tuple[ctypes.Array[_SockFilter], int]":
    """The filter, and at which place the number of the filtered process belongs into it."""
    program = _program()
    filters = (_SockFilter * len(program))(
        *(_SockFilter(i.code, i.yes, i.no, i.constant) for i in program)
    )
    [own_pid] = [place for place, i in enumerate(program) if i.constant == _OWN_PID]
    return filters, own_pid


def _program() -> list[_Instruction]:
    arch, calls = _TABLES[platform.machine()]
    program = [
        _Instruction(_LD_ABS, _OFFSET_ARCH),
        _Instruction(_JEQ, arch, 1, 0),
        _Instruction(_RET, _RET_KILL_PROCESS),
        _Instruction(_LD_ABS, _OFFSET_NR),
        _Instruction(_JGE, _X32_BIT, 0, 1),
        _deny(),
    ]
    special = {
        "clone": _when_argument(calls["clone"], 0, _JSET, _CLONE_THREAD),
        "tgkill": _when_argument(calls["tgkill"], 0, _JEQ, _OWN_PID),
        "prlimit64": _when_argument(calls["prlimit64"], 0, _JEQ, 0),
        "mmap": _unless_argument(calls["mmap"], 2, _PROT_EXEC),
        "mprotect": _unless_argument(calls["mprotect"], 2, _PROT_EXEC),
        "clone3": _answer(calls["clone3"], _deny(errno.ENOSYS)),
    }
    for name, number in calls.items():
        program += special.get(name) or _answer(number, _Instruction(_RET, _RET_ALLOW))
    return [*program, _deny()]


def _deny(number: int = errno.EPERM) -> _Instruction:
    return _Instruction(_RET, _RET_ERRNO | number)


def _answer(call: int, verdict: _Instruction) -> list[_Instruction]:
    return [_Instruction(_JEQ, call, 0, 1), verdict]


def _when_argument(call: int, index: int, test: int, constant: int) -> list[_Instruction]:
    """Allow `call` if its argument (the low 32 bits) passes the test."""
    return [
        _Instruction(_JEQ, call, 0, 4),
        _Instruction(_LD_ABS, _OFFSET_ARGS + 8 * index),
        _Instruction(test, constant, 0, 1),
        _Instruction(_RET, _RET_ALLOW),
        _deny(),
    ]


def _unless_argument(call: int, index: int, bits: int) -> list[_Instruction]:
    """Allow `call` if its argument has none of `bits`."""
    return [
        _Instruction(_JEQ, call, 0, 4),
        _Instruction(_LD_ABS, _OFFSET_ARGS + 8 * index),
        _Instruction(_JSET, bits, 0, 1),
        _deny(),
        _Instruction(_RET, _RET_ALLOW),
    ]
