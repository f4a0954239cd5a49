"""`ImageEngine` for any decoder module: the worker's side of one photo."""

import asyncio
import logging
import os
import signal
import time
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from types import MappingProxyType
from typing import TypeVar

import msgspec

from adapters.disk_room import is_filled_by_others, is_full, require_room
from adapters.sandbox import messages
from adapters.sandbox.admission import MemoryBudget
from adapters.sandbox.child import remove_parts
from adapters.sandbox.client import Child, Forkserver, ForkserverGone
from adapters.sandbox.forged import Forged, Inspector
from adapters.sandbox.limits import EngineLimits
from adapters.sandbox.lockdown import SandboxFeatures, sandbox_features
from adapters.sandbox.messages import (
    Answer,
    Caps,
    Crashed,
    Decoded,
    Done,
    Failed,
    Finished,
    Opened,
    Order,
)
from application.ports import ImageEngine, RenderedFile, Rendering, RenderJob
from domain.errors import DiskFull, InvalidConfiguration, ProcessingFailed
from domain.failure import FailureCode
from domain.parts import Placeholder

A = TypeVar("A", bound=Answer)
_log = logging.getLogger(__name__)
_NO_START = "Decoders do not start: the image library is missing or broken; see the lines above."
# Less is copied and hashed in less time than it takes to have a thread do it.
_COLLECTED_AT_ONCE_BYTES = 128 << 10


class SandboxedEngine(ImageEngine):
    """Renders each photo in a child of its own, forked by a forkserver for `decoder_module`.

    `limits.concurrency` children live at once; what they say they need is admitted against
    `limits.memory_budget_bytes`, first come, first served. `environment` is all that the library
    finds in its environment, beside a locale.
    """

    def __init__(
        self,
        decoder_module: str,
        limits: EngineLimits,
        environment: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        self.limits = limits
        self.budget = MemoryBudget(limits.memory_budget_bytes)
        self.largest_child_bytes = 0  # the most memory any child has had resident
        self.largest_claim_bytes = 0  # the most any child has said to need
        self._forkserver = Forkserver(decoder_module, environment)
        self._slots = asyncio.Semaphore(limits.concurrency)

    @property
    def features(self) -> SandboxFeatures:
        """What isolates the children on this machine."""
        return sandbox_features()

    @property
    def forkserver_pid(self) -> int | None:
        """The process id of the forkserver, while it runs."""
        return self._forkserver.pid

    async def open(self) -> None:
        """Start the forkserver now, so that the first photo need not wait for it.

        Raises InvalidConfiguration if it ends at once; what it said then stands on stderr.
        """
        try:
            await self._forkserver.open()
        except ForkserverGone as error:
            raise InvalidConfiguration([_NO_START]) from error

    async def close(self) -> None:
        """End the forkserver and any child."""
        await self._forkserver.close()

    async def render(self, job: RenderJob, on_variant: Callable[[RenderedFile], None]) -> Rendering:
        began = time.perf_counter()
        try:
            async with self._slots:
                require_room(job.folder)
                async with self._forkserver.child() as child:
                    stages = {"start": time.perf_counter() - began}
                    child.ended.add_done_callback(lambda _: self._note_peak(child))
                    return await _Session(self, job, child, stages).run(on_variant)
        except ForkserverGone:
            detail = "The process that starts decoders ended; it is started again."
            raise ProcessingFailed(FailureCode.INTERNAL_ERROR, detail) from None
        finally:
            remove_parts(job.folder)

    def _note_peak(self, child: Child) -> None:
        self.largest_child_bytes = max(self.largest_child_bytes, child.peak_bytes)


class _Session:
    """The conversation with one child."""

    def __init__(
        self, engine: SandboxedEngine, job: RenderJob, child: Child, stages: dict[str, float]
    ) -> None:
        self._engine = engine
        self._limits = engine.limits
        self._budget = engine.budget
        self._job = job
        self._child = child
        self._stages = stages
        self._inspector = Inspector(job, engine.limits.output_bytes)

    async def run(self, on_variant: Callable[[RenderedFile], None]) -> Rendering:
        oom_kills = _oom_kills()
        try:
            return await self._converse(on_variant)
        except Forged as forged:
            _log.warning("a decoding child gave a forged answer: %s", forged)
            detail = "The photo made the decoder lie; save it anew in an editor and upload that."
            raise ProcessingFailed(FailureCode.DECODER_CRASHED, detail) from forged
        except _Ended:
            status = await self._child.status()
            if is_filled_by_others(self._job.folder):
                raise DiskFull(str(self._job.folder)) from None
            raise _death(status, _oom_kills() > oom_kills) from None
        except TimeoutError:
            raise _too_slow(self._limits.wall_seconds) from None
        except OSError as error:
            if not is_full(error):
                raise
            if is_filled_by_others(self._job.folder):
                raise DiskFull(str(self._job.folder)) from error
            detail = "The variants of this photo take more room than there is; send a smaller one."
            raise ProcessingFailed(FailureCode.INTERNAL_ERROR, detail) from error

    async def _converse(self, on_variant: Callable[[RenderedFile], None]) -> Rendering:
        limit = self._limits.wall_seconds
        self._child.send(messages.encode(_order(self._job, self._limits)) + b"\n")
        async with asyncio.timeout(limit):
            opened = await self._expect(Opened)
        self._stages["header"] = opened.seconds
        self._engine.largest_claim_bytes = max(self._engine.largest_claim_bytes, opened.needs)
        async with self._admitted(opened.needs), asyncio.timeout(limit):
            self._child.send(messages.GO)
            decoded = await self._expect(Decoded)
            self._stages["decode"] = decoded.seconds
            self._inspector.decoded(decoded)
            while not isinstance(answer := await self._expect(Finished, Done), Done):
                on_variant(await self._collected(answer))
                self._stages[f"resize.{answer.name}"] = answer.resize_seconds
                self._stages[f"encode.{answer.name}"] = answer.encode_seconds
        self._inspector.check_complete()
        self._stages["placeholder"] = answer.seconds
        return Rendering(
            width=decoded.width,
            height=decoded.height,
            format=decoded.format,
            placeholder=Placeholder(thumbhash=answer.thumbhash, average_color=answer.average_color),
            stages=self._stages,
        )

    async def _collected(self, answer: Finished) -> RenderedFile:
        if answer.bytes <= _COLLECTED_AT_ONCE_BYTES:
            return self._inspector.collect(answer)
        return await asyncio.to_thread(self._inspector.collect, answer)

    @asynccontextmanager
    async def _admitted(self, needs: int) -> AsyncGenerator[None]:
        if needs > self._budget.total:
            raise ProcessingFailed(
                FailureCode.TOO_MANY_PIXELS,
                f"Decoding would need about {needs >> 20} MiB of memory; "
                f"{self._budget.total >> 20} MiB are there. Send a smaller picture.",
            )
        began = time.perf_counter()
        async with self._budget.claim(needs):
            self._stages["admission"] = time.perf_counter() - began
            yield

    async def _expect(self, *kinds: type[A]) -> A:
        """The next answer, which must be of one of `kinds`; raises what `Failed` says."""
        try:
            line = await self._child.answers.readline()
        except ValueError:
            raise Forged("the answer is too long") from None
        if not line.endswith(b"\n"):
            raise _Ended
        try:
            answer = messages.decode_answer(line)
        except msgspec.MsgspecError as error:
            raise Forged(str(error)) from None
        if isinstance(answer, Failed):
            raise self._inspector.failure(answer)
        if isinstance(answer, Crashed):
            _log.warning("a decoding child failed unexpectedly:\n%s", answer.traceback)
            raise _Ended
        if not isinstance(answer, kinds):
            raise Forged(f"{type(answer).__name__} is out of turn")
        return answer


class _Ended(Exception):
    """The child has closed its end of the pipe without finishing."""


def _order(job: RenderJob, limits: EngineLimits) -> Order:
    recipe = job.recipe
    return Order(
        source=str(job.source),
        folder=str(job.folder),
        content_type=job.content_type,
        name=recipe.name,
        variants=recipe.variants,
        background=recipe.background,
        animation=recipe.animation,
        copyright=recipe.copyright,
        caps=Caps(
            max_bytes=limits.max_bytes,
            max_pixels=limits.max_pixels,
            max_frames=limits.max_frames,
            cpu_seconds=limits.cpu_seconds,
            address_space_bytes=limits.address_space_bytes,
            output_bytes=limits.output_bytes,
            open_files=limits.open_files,
        ),
    )


def _death(status: int, out_of_memory: bool) -> ProcessingFailed:
    """What the wait status of a child that fell silent means."""
    ended_by = os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0
    if ended_by == signal.SIGXCPU:
        detail = "Decoding took more processor time than a photo may use; send a smaller photo."
        return ProcessingFailed(FailureCode.DECODE_TIMEOUT, detail)
    # GLib, under libvips, ends a process that finds no memory with a breakpoint trap.
    if ended_by == signal.SIGTRAP or (ended_by == signal.SIGKILL and out_of_memory):
        detail = "There was not enough memory to decode the photo; send a smaller one."
        return ProcessingFailed(FailureCode.DECODE_OUT_OF_MEMORY, detail)
    how = f"signal {ended_by}" if ended_by else f"exit code {os.waitstatus_to_exitcode(status)}"
    detail = f"The decoder died on this photo ({how}); save it anew in an editor and try again."
    return ProcessingFailed(FailureCode.DECODER_CRASHED, detail)


def _too_slow(seconds: float) -> ProcessingFailed:
    return ProcessingFailed(
        FailureCode.DECODE_TIMEOUT,
        f"Decoding took longer than {seconds:g} seconds; send a smaller or simpler photo.",
    )


def _oom_kills() -> int:
    """How many processes the kernel has killed for want of memory since it started."""
    try:
        lines = Path("/proc/vmstat").read_text(encoding="ascii").splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("oom_kill ")), 0)
