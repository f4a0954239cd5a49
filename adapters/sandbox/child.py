"""The life of one decoding child, from the fork to its last line.

What it needs is opened first, then everything is given up, and only then is the first byte of
the photo looked at.
"""

import errno
import gc
import os
import signal
import time
import traceback
from contextlib import suppress
from pathlib import Path

from adapters.sandbox import containers, messages, structure
from adapters.sandbox.decoder import Decoder, Encoded, Picture
from adapters.sandbox.lockdown import SandboxFeatures, die_with, lock_down
from adapters.sandbox.messages import Answer, Order
from domain.errors import ProcessingFailed
from domain.failure import FailureCode

EXIT_DONE, EXIT_BROKEN = 0, 70
_OUT_OF_MEMORY = (MemoryError, OSError)
_OUTPUT_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


def run(decoder: Decoder, features: SandboxFeatures, server: int, orders: int, answers: int) -> int:
    """Carry out the one order that arrives on `orders`; returns the exit code.

    `server` is the pid of the forkserver, without which the child does not want to live.
    """
    gc.disable()
    try:
        _stand_alone()
        order = messages.decode_order(_read_line(orders))
        source, outputs = _open_files(order)
        die_with(server)
        lock_down(order.caps, features, threads=decoder.threads)
        _render(decoder, order, source, outputs, (orders, answers))
    except ProcessingFailed as failure:
        _say(answers, messages.Failed(code=failure.code, detail=failure.detail))
    except _OUT_OF_MEMORY as error:
        if isinstance(error, OSError) and error.errno != errno.ENOMEM:
            return _crashed(answers)
        detail = "Decoding needs more memory than one photo may use; send a smaller photo."
        _say(answers, messages.Failed(code=FailureCode.DECODE_OUT_OF_MEMORY, detail=detail))
    except Exception:  # noqa: BLE001 - whatever it is, the worker must hear of it
        return _crashed(answers)
    return EXIT_DONE


def _crashed(answers: int) -> int:
    text = traceback.format_exc(chain=False)[-messages.TRACEBACK_MAX :]
    _say(answers, messages.Crashed(traceback=text))
    return EXIT_BROKEN


def _render(
    decoder: Decoder, order: Order, source: int, outputs: dict[str, int], pipes: tuple[int, int]
) -> None:
    orders, answers = pipes
    began = time.perf_counter()
    data = _read_source(source, order.caps.max_bytes)
    kind = containers.identify(data, order.content_type)
    with _Damage(decoder.damage, data, kind):
        picture = decoder.open(data, kind, order.recipe, order.caps)
    _check_pixels(picture, order.caps)
    if picture.frames > 1 or kind is containers.Kind.GIF:
        _check_complete(data, kind)  # decoders are silent about frames that are missing
    needs = max(1, picture.needs)
    _say(answers, messages.Opened(needs=needs, seconds=time.perf_counter() - began))
    if _read_line(orders) != messages.GO:
        return
    began = time.perf_counter()
    with _Damage(decoder.damage, data, kind):
        width, height = picture.decode()
    seconds = time.perf_counter() - began
    _say(
        answers,
        messages.Decoded(width=width, height=height, format=kind.value, seconds=seconds),
    )
    _encode_all(picture, outputs, answers)


def _encode_all(picture: Picture, outputs: dict[str, int], answers: int) -> None:
    for encoded in picture.variants():
        _write(outputs[encoded.spec.name], encoded.data)
        _say(answers, _finished(encoded))
    began = time.perf_counter()
    placeholder = picture.placeholder()
    done = messages.Done(
        thumbhash=placeholder.thumbhash,
        average_color=placeholder.average_color,
        seconds=time.perf_counter() - began,
    )
    _say(answers, done)


def _finished(encoded: Encoded) -> Answer:
    return messages.Finished(
        name=encoded.spec.name,
        content_type=encoded.content_type,
        width=encoded.width,
        height=encoded.height,
        bytes=len(encoded.data),
        resize_seconds=encoded.resize_seconds,
        encode_seconds=encoded.encode_seconds,
    )


class _Damage:
    """Turns what a library raises on bad data into the failure code that fits."""

    def __init__(
        self, damage: tuple[type[Exception], ...], data: bytes, kind: containers.Kind
    ) -> None:
        self._damage = damage
        self._data = data
        self._kind = kind

    def __enter__(self) -> None:
        return None

    def __exit__(self, _type: object, error: BaseException | None, _traceback: object) -> None:
        if not isinstance(error, self._damage) or getattr(error, "errno", None) is not None:
            return  # an error number comes from the kernel: it says nothing about the photo
        if "out of memory" in str(error).lower():
            raise MemoryError from error
        _check_complete(self._data, self._kind)
        detail = (
            f"The {self._kind.value} data is damaged, or of a kind that cannot be read; "
            "open the photo in an editor, save it anew and upload that."
        )
        raise ProcessingFailed(FailureCode.IMAGE_CORRUPT, detail) from error


def _check_complete(data: bytes, kind: containers.Kind) -> None:
    if structure.ends_early(data, kind):
        detail = "The file ends before the picture does; upload it again, completely."
        raise ProcessingFailed(FailureCode.IMAGE_TRUNCATED, detail)


def _check_pixels(picture: Picture, caps: messages.Caps) -> None:
    if picture.frames > caps.max_frames:
        raise ProcessingFailed(
            FailureCode.TOO_MANY_PIXELS,
            f"The animation has more than {caps.max_frames} frames; send a shorter one.",
        )
    if picture.width * picture.height * picture.frames > caps.max_pixels:
        frames = f" x {picture.frames} frames" if picture.frames > 1 else ""
        raise ProcessingFailed(
            FailureCode.TOO_MANY_PIXELS,
            f"The picture is {picture.width} x {picture.height} pixels{frames}; "
            f"{caps.max_pixels // 1_000_000} megapixels are allowed. Send a smaller one.",
        )


def _stand_alone() -> None:
    """A process group of its own, signals as they are for any process, no standard files.

    There is no terminal to leave: the forkserver is in a session of its own.
    """
    os.setpgid(0, 0)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD):
        signal.signal(number, signal.SIG_DFL)
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(null, descriptor)
    os.close(null)


def _open_files(order: Order) -> tuple[int, dict[str, int]]:
    source = os.open(order.source, os.O_RDONLY | os.O_CLOEXEC)
    outputs = {
        spec.name: os.open(order.part(spec.name), _OUTPUT_FLAGS, 0o600) for spec in order.variants
    }
    return source, outputs


def _read_source(source: int, max_bytes: int) -> bytes:
    size = os.lseek(source, 0, os.SEEK_END)
    if size > max_bytes:
        detail = f"The file has {size} bytes; {max_bytes} are allowed. Send a smaller one."
        raise ProcessingFailed(FailureCode.TOO_MANY_BYTES, detail)
    chunks: list[bytes] = []
    offset = 0
    while chunk := os.pread(source, size + 1 - offset, offset):
        chunks.append(chunk)
        offset += len(chunk)
    return b"".join(chunks)


def _write(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def _read_line(descriptor: int) -> bytes:
    line = b""
    while not line.endswith(b"\n"):
        chunk = os.read(descriptor, 65_536)
        if not chunk:
            break
        line += chunk
    return line


def _say(answers: int, answer: Answer) -> None:
    _write(answers, messages.encode(answer) + b"\n")


def remove_parts(folder: Path) -> None:
    """Delete what children wrote, after they have ended."""
    for part in folder.glob("*" + messages.PART):
        with suppress(OSError):
            part.unlink()
