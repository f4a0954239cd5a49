"""What a child gives up before it looks at a photo, and what this machine lets it give up."""

import contextlib
import os
import resource
import signal
import sys
from dataclasses import dataclass

from adapters.sandbox import landlock, seccomp
from adapters.sandbox.libc import (
    PR_SET_NO_NEW_PRIVS,
    PR_SET_PDEATHSIG,
    drop_capabilities,
    prctl,
)
from adapters.sandbox.messages import Caps


@dataclass(frozen=True, slots=True, kw_only=True)
class SandboxFeatures:
    """What the kernel offers. `landlock_abi` is 0 where there is no Landlock."""

    landlock_abi: int
    seccomp: bool
    no_new_privs: bool

    @property
    def missing(self) -> tuple[str, ...]:
        """One sentence for each layer that this machine lacks; empty when all are active."""
        found: list[str] = []
        if not self.no_new_privs:
            found.append("no_new_privs is missing: this is not Linux.")
        if not self.landlock_abi:
            found.append("Landlock is missing: it needs Linux 5.13 and must not be switched off.")
        elif self.landlock_abi < landlock.ABI_NETWORK:
            found.append("Landlock cannot deny TCP here: that needs Linux 6.7.")
        if not self.seccomp:
            found.append("seccomp is missing: it needs Linux on x86_64 or aarch64.")
        return tuple(found)


def sandbox_features() -> SandboxFeatures:
    """Ask the kernel; changes nothing."""
    linux = sys.platform == "linux"
    return SandboxFeatures(
        landlock_abi=landlock.abi() if linux else 0,
        seccomp=linux and seccomp.available(),
        no_new_privs=linux,
    )


def prepare() -> None:
    """Do once, in the forkserver, what is the same for every child."""
    if sys.platform == "linux" and seccomp.available():
        seccomp.prepare()


def die_with(parent: int) -> None:
    """Be killed when the process `parent`, which forked us, ends (Linux only)."""
    if sys.platform == "linux":
        prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os.kill(os.getpid(), signal.SIGKILL)


def lock_down(caps: Caps, features: SandboxFeatures, *, threads: bool) -> None:
    """Give everything up, for good. Files the child needs must be open by now.

    Without `threads` the child can't even start one (`RLIMIT_NPROC`, which root ignores).
    """
    _prefer_as_oom_victim()
    _set_limits(caps, threads=threads)
    if features.no_new_privs:
        drop_capabilities()
        prctl(PR_SET_NO_NEW_PRIVS, 1)
    if features.landlock_abi:
        landlock.give_up_files_and_network(features.landlock_abi)
    if features.seccomp:
        seccomp.install()


def _set_limits(caps: Caps, *, threads: bool) -> None:
    limits = {
        resource.RLIMIT_AS: caps.address_space_bytes,
        resource.RLIMIT_FSIZE: caps.output_bytes,
        resource.RLIMIT_NOFILE: caps.open_files,
        resource.RLIMIT_CORE: 0,
    }
    if not threads:
        limits[resource.RLIMIT_NPROC] = 0
    for name, value in limits.items():
        _, hard = resource.getrlimit(name)
        ceiling = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(name, (ceiling, ceiling))
    # The soft limit ends the child with SIGXCPU, which names the reason; the hard one insists.
    resource.setrlimit(resource.RLIMIT_CPU, (caps.cpu_seconds, caps.cpu_seconds + 1))


def _prefer_as_oom_victim() -> None:
    """When memory runs out the kernel should take this child, not the worker."""
    with contextlib.suppress(OSError):
        # No text file: the child would import its encoding, which takes a millisecond.
        descriptor = os.open("/proc/self/oom_score_adj", os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.write(descriptor, b"1000")
        finally:
            os.close(descriptor)
