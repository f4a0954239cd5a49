"""What the doctor says of the room on disk for photos."""

import pytest

from adapters.disk_room import MIB, ROOM_BYTES
from entrypoints.settings import Role, load
from entrypoints.tools.doctor import machine
from entrypoints.tools.doctor.findings import Mark

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(
    ("photos", "mark", "sentence"),
    [
        (0, Mark.FAILED, "Too little for one large photo"),
        (1, Mark.WARNING, "Room for 1 of 2 large photos"),
        (2, Mark.OK, "Photos have room"),
    ],
)
async def test_there_must_be_room_for_the_photos_of_a_worker(
    photos: int, mark: Mark, sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def free(_folder: object) -> int:
        return photos * (50 * MIB + ROOM_BYTES)

    monkeypatch.setattr(machine, "free_bytes", free)
    chosen = load(Role.EMBEDDED, {"WORKER_CONCURRENCY": "2"})
    found = [one async for one in machine.examine_machine(chosen) if one.check == "scratch"]
    assert [one.mark for one in found] == [mark]
    assert found[0].sentence.startswith(sentence)
