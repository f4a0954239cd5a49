"""A disk that is full where photos are worked on: an outage, unless the photo has filled it."""

import errno
from collections.abc import AsyncGenerator, Callable

import pytest

from adapters import disk_room
from adapters.sandbox import forged
from adapters.sandbox.engine import SandboxedEngine
from adapters.sandbox.limits import MIB, EngineLimits
from domain.errors import DiskFull
from domain.failure import FailureCode
from tests.images.drawing import encoded, scene
from tests.images.hostile import photo
from tests.images.rendering import code, render

pytestmark = pytest.mark.anyio
Disk = Callable[..., None]


@pytest.fixture(scope="module")
async def engine() -> AsyncGenerator[SandboxedEngine]:
    limits = EngineLimits(output_bytes=4 * MIB, concurrency=1)
    hostile = SandboxedEngine("tests.images.hostile", limits)
    await hostile.open()
    yield hostile
    await hostile.close()


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    """Says what is free, one answer after the other; the last one for ever."""

    def say(*free: int) -> None:
        answers = list(free)

        def next_answer(_folder: object) -> int:
            return answers.pop(0) if len(answers) > 1 else answers[0]

        monkeypatch.setattr(disk_room, "free_bytes", next_answer)

    return say


def no_room(*_: object) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


async def test_no_decoder_is_started_without_room(engine: SandboxedEngine, disk: Disk) -> None:
    disk(disk_room.ROOM_BYTES - 1)
    with pytest.raises(DiskFull):
        await render(engine, photo("sleep_for_ever"), "image/jpeg")


async def test_a_decoder_that_dies_on_a_disk_that_others_have_filled_is_innocent(
    engine: SandboxedEngine, disk: Disk
) -> None:
    disk(disk_room.ROOM_BYTES, 0)
    with pytest.raises(DiskFull):
        await render(engine, photo("leave_early"), "image/jpeg")


async def test_a_decoder_that_fills_the_disk_itself_is_not(
    engine: SandboxedEngine, disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(disk_room, "ROOM_BYTES", MIB)
    disk(MIB, 0)
    assert await code(engine, photo("fill_the_disk"), "image/jpeg") is FailureCode.DECODER_CRASHED


async def test_a_copy_that_finds_no_room_is_an_outage(
    engine: SandboxedEngine, disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk(disk_room.ROOM_BYTES, 0)
    monkeypatch.setattr(forged, "_copy", no_room)
    with pytest.raises(DiskFull):
        await render(engine, encoded(scene(64, 64), "JPEG"), "image/jpeg")


async def test_a_copy_that_finds_no_room_for_what_one_photo_makes_is_charged(
    engine: SandboxedEngine, disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(disk_room, "ROOM_BYTES", 1)
    disk(1, 0)
    monkeypatch.setattr(forged, "_copy", no_room)
    found = await code(engine, encoded(scene(64, 64), "JPEG"), "image/jpeg")
    assert found is FailureCode.INTERNAL_ERROR
