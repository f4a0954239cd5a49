"""Real and hostile files: an answer for each, in bounded time and memory.

A sample by default; `pytest --full-corpus` (`make corpus`) takes every file and prints the table
that docs/images.md shows.
"""

from pathlib import Path

import pytest

from adapters.pillow.engine import PillowEngine
from adapters.sandbox.limits import EngineLimits
from adapters.vips.engine import VipsEngine
from domain.failure import FailureCode
from tests.corpus.survey import READY, Survey, files, survey

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(1200)]
GOOD = ["photos", "orientation", "gps"]
FOLDERS = [*GOOD, "invalid", "formats", "hostile/pillow", "hostile/fuzz"]
SAMPLE = 20
# What a file can do to us, as opposed to what is wrong with it.
HARM = {
    FailureCode.DECODER_CRASHED,
    FailureCode.DECODE_TIMEOUT,
    FailureCode.DECODE_OUT_OF_MEMORY,
    FailureCode.INTERNAL_ERROR,
}


@pytest.mark.parametrize("engine_type", [PillowEngine, VipsEngine])
async def test_every_file_gets_an_answer(
    corpus: Path,
    engine_type: type[PillowEngine | VipsEngine],
    request: pytest.FixtureRequest,
    capsys: pytest.CaptureFixture[str],
) -> None:
    full = bool(request.config.getoption("--full-corpus", default=False))
    limits = EngineLimits()
    engine = engine_type(limits)
    await engine.open()
    surveys = [
        await survey(engine, name, files(corpus / name, None if full else SAMPLE))
        for name in FOLDERS
        if (corpus / name).is_dir()
    ]
    await engine.close()
    with capsys.disabled():
        if full:
            print_table(engine_type.__name__, surveys)
    for each in surveys:
        assert each.slowest_seconds < limits.wall_seconds, each
        assert each.peak_bytes < limits.address_space_bytes, each
        assert not HARM & each.outcomes.keys(), each
        if each.folder in GOOD:
            assert set(each.outcomes) == {READY}, each


def print_table(name: str, surveys: list[Survey]) -> None:
    print(f"\n\n{name}\n")
    print("| folder | files | READY | FAILED | slowest s | largest child MiB |")
    print("|---|---|---|---|---|---|")
    for each in surveys:
        print(each.row())
    for each in surveys:
        if not each.folder.startswith("hostile"):
            for refused in sorted(each.refused):
                print("-", each.folder, *refused)
