"""Each layer of the sandbox holds on its own, in a process that has no other."""

import subprocess
import sys

import pytest

from adapters.sandbox.lockdown import SandboxFeatures, sandbox_features

pytestmark = pytest.mark.skipif(bool(sandbox_features().missing), reason="the kernel lacks a layer")
PROGRAM = """
import os, socket, sys
from adapters.sandbox import landlock, seccomp
from adapters.sandbox.libc import PR_SET_NO_NEW_PRIVS, drop_capabilities, prctl

def refused(call):
    try:
        call()
    except OSError:
        return True
    return False

drop_capabilities()
prctl(PR_SET_NO_NEW_PRIVS, 1)
{layer}
facts = dict(
    read=refused(lambda: open("/etc/passwd")),
    write=refused(lambda: open("/dev/null", "w")),
    tcp=refused(lambda: socket.socket().bind(("127.0.0.1", 0))),
    udp=refused(lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM)),
    fork=refused(lambda: os.fork() or os._exit(0)),
    signal=refused(lambda: os.kill(os.getppid(), 0)),
)
print(" ".join(name for name, is_refused in facts.items() if is_refused))
"""


def refused_by(layer: str) -> set[str]:
    """What a process that has taken on this layer can't do."""
    program = PROGRAM.format(layer=layer)
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    return set(done.stdout.split())


def test_nothing_is_refused_without_a_layer() -> None:
    assert refused_by("") == set()


def test_landlock_refuses_files_and_tcp() -> None:
    refused = refused_by("landlock.give_up_files_and_network(landlock.abi())")
    assert {"read", "write", "tcp"} <= refused
    assert "udp" not in refused


def test_seccomp_refuses_all_of_it() -> None:
    assert refused_by("seccomp.install()") == {"read", "write", "tcp", "udp", "fork", "signal"}


def test_what_is_missing_is_said_in_sentences() -> None:
    bare = SandboxFeatures(landlock_abi=0, seccomp=False, no_new_privs=False)
    assert len(bare.missing) == 3
    assert all(sentence.endswith(".") for sentence in bare.missing)
    old = SandboxFeatures(landlock_abi=3, seccomp=True, no_new_privs=True)
    assert old.missing == ("Landlock cannot deny TCP here: that needs Linux 6.7.",)
