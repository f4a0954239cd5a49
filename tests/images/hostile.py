"""A decoder that has been taken over: it does what the photo says.

Runs in the forkserver's children only. A photo that starts with `ATTACK` names one of the
functions below; every other photo is decoded by a real library, in the same process tree: by
Pillow if this module is the decoder, by libvips if `hostile_vips` is.
"""

import ctypes
import json
import mmap
import os
import resource
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

from adapters.pillow.decoder import DECODER as PILLOW
from adapters.sandbox.containers import Kind
from adapters.sandbox.decoder import Decoder, Encoded, Picture
from adapters.sandbox.messages import Caps
from domain.parts import Placeholder
from domain.recipe import Recipe

ATTACK = b"\xff\xd8\xff attack: "
PNG = b"\x89PNG\r\n\x1a\n" + b"\x00" * 32


class Found(Exception):
    """Something an attacker could use; the test reads it in the log."""


def open_passwd() -> None:
    raise Found(Path("/etc/passwd").read_text())


def open_own_source() -> None:
    raise Found(Path(__file__).read_text())


def list_root() -> None:
    raise Found(list(Path("/").iterdir()))


def write_outside() -> None:
    Path("/tmp/image-pipeline-was-here").write_text("gone")


def connect_tcp() -> None:
    socket.socket(socket.AF_INET, socket.SOCK_STREAM).connect(("127.0.0.1", 1))


def send_udp() -> None:
    socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"secret", ("127.0.0.1", 9))


def talk_to_unix_sockets() -> None:
    socket.socket(socket.AF_UNIX).connect("\0abstract")


def fork_in_a_loop() -> None:
    while True:
        os.fork()


def run_a_program() -> None:
    subprocess.run(["/bin/true"], check=True)


def kill_the_forkserver() -> None:
    os.kill(os.getppid(), 9)


def read_the_forkserver() -> None:
    raise Found(Path(f"/proc/{os.getppid()}/mem").read_bytes())


def trace_the_forkserver() -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.ptrace(16, os.getppid(), 0, 0) < 0:
        raise OSError(ctypes.get_errno(), "ptrace")


def make_memory_executable() -> None:
    mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)


def raise_a_limit() -> None:
    try:
        resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    except ValueError as error:
        raise PermissionError(1, str(error)) from error


def allocate_64_gigabytes() -> None:
    bytearray(64 << 30)


def allocate_bit_by_bit() -> None:
    kept: list[bytearray] = []
    while True:
        kept.append(bytearray(1 << 20))


def spin_for_ever() -> None:
    while True:
        pass


def sleep_for_ever() -> None:
    while True:
        time.sleep(1000)


def stop_itself() -> None:
    ctypes.string_at(0)


def abort() -> None:
    os.abort()


def leave_early() -> None:
    os._exit(0)


def tell_secrets() -> None:
    raise Found(json.dumps({"environ": dict(os.environ), "argv": sys.argv[3:]}))


def say(line: bytes) -> Callable[[], None]:
    """Write a line to the worker. Descriptors are tried: a photo doesn't know which is which."""

    def attack() -> None:
        for descriptor in range(3, 32):
            try:
                os.write(descriptor, line)
            except OSError:
                continue
        time.sleep(1000)

    return attack


def fill_the_disk() -> None:
    for descriptor in range(3, 32):
        try:
            while True:
                os.write(descriptor, b"x" * (1 << 20))
        except BlockingIOError:
            continue
        except OSError as error:
            if error.errno == 27:  # EFBIG: the limit on the size of a file
                raise
    raise Found("no limit on what can be written")


def having_written(data: bytes, attack: Callable[[], None]) -> Callable[[], None]:
    """The attack, after these bytes have gone into every variant's file."""

    def both() -> None:
        for descriptor in range(3, 32):
            with suppress(OSError):
                os.lseek(descriptor, 0, os.SEEK_SET)  # pipes can't
                os.write(descriptor, data)
        attack()

    return both


def forged(**answer: object) -> Callable[[], None]:
    decoded = {"type": "Decoded", "width": 64, "height": 64, "format": "JPEG", "seconds": 0.0}
    lines = json.dumps(decoded).encode() + b"\n" + json.dumps(answer).encode() + b"\n"
    return say(lines)


_FINISHED = {
    "type": "Finished",
    "name": "only",
    "content_type": "image/png",
    "width": 64,
    "height": 64,
    "bytes": 40,
    "resize_seconds": 0.0,
    "encode_seconds": 0.0,
}
_DONE = {
    "type": "Done",
    "thumbhash": "1QcSHQRnh493V4dIh4eXh1h4kJUI",
    "average_color": "#000000",
    "seconds": 0.0,
}
FORGERIES: dict[str, Callable[[], None]] = {
    "an_answer_that_is_not_json": say(b"hello\n"),
    "an_answer_without_end": say(b"x" * 100_000),
    "an_answer_of_another_type": say(b'{"type":"Opened","needs":1,"seconds":0.0}\n'),
    "an_answer_with_a_field_too_many": forged(**_FINISHED, path="/etc/passwd"),
    "a_size_of_zero": say(
        b'{"type":"Decoded","width":0,"height":64,"format":"JPEG","seconds":0.0}\n'
    ),
    "a_format_nobody_knows": say(
        b'{"type":"Decoded","width":64,"height":64,"format":"EXE","seconds":0.0}\n'
    ),
    "a_variant_that_is_not_in_the_recipe": forged(**{**_FINISHED, "name": "other"}),
    "a_variant_with_a_path_for_a_name": forged(**{**_FINISHED, "name": "../../etc/passwd"}),
    "a_variant_that_is_too_wide": forged(**{**_FINISHED, "width": 65}),
    "a_variant_of_the_wrong_type": forged(**{**_FINISHED, "content_type": "text/html"}),
    "a_variant_that_was_not_written": forged(**_FINISHED),
    "a_variant_that_is_longer_than_it_says": having_written(PNG, forged(**_FINISHED)),
    "a_result_without_variants": forged(**_DONE),
    "a_failure_that_is_not_its_business": say(
        b'{"type":"Failed","code":"original-missing","detail":"No."}\n'
    ),
    "a_failure_with_control_characters": say(
        b'{"type":"Failed","code":"image-corrupt","detail":"\\u001b[2J."}\n'
    ),
}
ATTACKS: dict[str, Callable[[], None]] = {
    attack.__name__: attack
    for attack in (
        open_passwd,
        open_own_source,
        list_root,
        write_outside,
        connect_tcp,
        send_udp,
        talk_to_unix_sockets,
        fork_in_a_loop,
        run_a_program,
        kill_the_forkserver,
        read_the_forkserver,
        trace_the_forkserver,
        make_memory_executable,
        raise_a_limit,
        allocate_64_gigabytes,
        allocate_bit_by_bit,
        spin_for_ever,
        sleep_for_ever,
        stop_itself,
        abort,
        leave_early,
        tell_secrets,
        fill_the_disk,
    )
} | FORGERIES


def photo(attack: str) -> bytes:
    """A `JPEG` that carries out the attack."""
    return ATTACK + attack.encode()


class HostilePicture(Picture):
    """Well-behaved until it is decoded."""

    def __init__(self, attack: Callable[[], None]) -> None:
        self._attack = attack

    @property
    def width(self) -> int:
        return 64

    @property
    def height(self) -> int:
        return 64

    @property
    def frames(self) -> int:
        return 1

    @property
    def needs(self) -> int:
        return 1 << 20

    def decode(self) -> tuple[int, int]:
        self._attack()
        return 64, 64

    def variants(self) -> Iterator[Encoded]:
        return iter(())

    def placeholder(self) -> Placeholder:
        raise Found("an attack came through")


class HostileDecoder(Decoder):
    """May do what the real decoder may, no more and no less."""

    def __init__(self, real: Decoder) -> None:
        self._real = real
        self.threads = real.threads
        self.damage = real.damage

    def preload(self) -> None:
        self._real.preload()

    def open(self, data: bytes, kind: Kind, recipe: Recipe, caps: Caps) -> Picture:
        if not data.startswith(ATTACK):
            return self._real.open(data, kind, recipe, caps)
        return HostilePicture(ATTACKS[data.removeprefix(ATTACK).decode()])


DECODER = HostileDecoder(PILLOW)
