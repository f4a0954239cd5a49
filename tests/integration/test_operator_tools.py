"""`pipeline dead-letters`, `media` and `status`, as typed, on both durable sets."""

import asyncio
import json
import logging
from collections.abc import AsyncGenerator, Callable, Generator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from adapters.postgres.database import PostgresDatabase
from adapters.postgres.migrations import migrate
from adapters.sqlite import SqliteDatabase
from application.values import DeadLetter
from domain.failure import FailureCode
from domain.lifecycle import State
from domain.media import Media
from entrypoints import cli
from entrypoints.settings import REQUIRED, Role
from tests.support import builders
from tests.support.builders import ulid
from tests.support.services import Services
from tests.support.sets import fresh_database

UNDELIVERABLE = FailureCode.MESSAGE_UNDELIVERABLE


@dataclass
class Answer:
    code: int
    out: str
    err: str

    @property
    def json(self) -> object:
        return json.loads(self.out)

    @property
    def events(self) -> list[str]:
        lines = [line for line in self.err.splitlines() if line.startswith("{")]
        return [json.loads(line)["event"] for line in lines]


class Operator:
    """Types commands, and looks into the database beside them."""

    def __init__(
        self,
        runner: asyncio.Runner,
        database: PostgresDatabase | SqliteDatabase,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        self._runner = runner
        self._database = database
        self._capsys = capsys

    def types(self, *words: str) -> Answer:
        code = 0
        try:
            cli.main(words)
        except SystemExit as ended:
            code = int(ended.code or 0)
        out, err = self._capsys.readouterr()
        return Answer(code, out, err)

    def keep(self, *media: Media, letters: Sequence[DeadLetter] = ()) -> None:
        async def work() -> None:
            async with self._database.begin() as uow:
                for one in media:
                    await uow.media.add(one)
                for letter in letters:
                    await uow.dead_letters.keep(letter)
                await uow.commit()

        self._runner.run(work())

    def state(self, number: int) -> State:
        async def work() -> State:
            async with self._database.begin() as uow:
                media = await uow.media.get(ulid(number))
            assert media is not None
            return media.state

        return self._runner.run(work())

    def enqueued(self) -> int:
        async def work() -> int:
            return (await self._database.overview.backlog()).outbox.count

        return self._runner.run(work())


@asynccontextmanager
async def on_set(
    name: str, services: Services, folder: Path, setenv: Callable[[str, str], None]
) -> AsyncGenerator[PostgresDatabase | SqliteDatabase]:
    if name == "embedded":
        setenv("DATA_DIR", str(folder))
        database = await SqliteDatabase.open(folder / "pipeline.db")
        yield database
        await database.close()
        return
    async with fresh_database(services.postgres_url()) as url:
        await migrate(url)
        setenv("DATABASE_URL", url)
        database = await PostgresDatabase.connect(url, pool_size=2)
        yield database
        await database.close()


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch) -> Generator[None]:
    """No server is named, and the root logger is given back as pytest has set it up."""
    for name in (*REQUIRED[Role.DOCTOR], "data_dir"):
        monkeypatch.delenv(name.upper(), raising=False)
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    root.handlers = []
    yield
    root.handlers, root.level = handlers, level
    logging.captureWarnings(capture=False)


@pytest.fixture(params=["embedded", "production"])
def operator(
    request: pytest.FixtureRequest,
    services: Services,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Generator[Operator]:
    with asyncio.Runner() as runner:
        opened = on_set(request.param, services, tmp_path, monkeypatch.setenv)
        yield Operator(runner, runner.run(opened.__aenter__()), capsys)
        runner.run(opened.__aexit__(None, None, None))


def undeliverable(number: int) -> tuple[Media, DeadLetter]:
    return builders.failed(number, code=UNDELIVERABLE), builders.letter(number)


# --- dead letters ----------------------------------------------------------------------------


def test_letters_are_listed_newest_first(operator: Operator) -> None:
    assert operator.types("dead-letters", "list").out == "There are no dead letters.\n"
    operator.keep(letters=[builders.letter(1), replace(builders.letter(2), media_id=None)])
    shown = operator.types("dead-letters", "list")
    assert shown.code == 0
    assert shown.out.index("letter-2") < shown.out.index("letter-1")
    assert "unreadable" in shown.out
    plain = json.loads(operator.types("dead-letters", "list", "--json", "--limit", "1").out)
    assert [letter["id"] for letter in plain] == ["letter-2"]


def test_a_letter_is_shown_without_trusting_its_body(operator: Operator) -> None:
    operator.keep(letters=[builders.letter(1, body=b"\x1b[31m[bold]\xff")])
    shown = operator.types("dead-letters", "show", "letter-1")
    assert ulid(1) in shown.out
    assert "\x1b" not in shown.out
    assert "[bold]" in shown.out


def test_a_letter_is_replayed_once(operator: Operator) -> None:
    media, letter = undeliverable(1)
    operator.keep(media, letters=[letter])
    tried = operator.types("dead-letters", "replay", letter.id, "--dry-run")
    assert "would be processed again" in tried.out
    assert (tried.events, operator.state(1)) == ([], State.FAILED)

    first = operator.types("dead-letters", "replay", letter.id)
    assert "will be processed again" in first.out
    assert first.events == ["media_replayed"]
    assert (operator.state(1), operator.enqueued()) == (State.UPLOADED, 1)

    second = operator.types("dead-letters", "replay", letter.id)
    assert (second.code, second.events) == (0, ["media_not_replayed"])
    assert second.out == f"{ulid(1)} is UPLOADED, not FAILED: nothing to do.\n"
    assert operator.enqueued() == 1
    [kept] = json.loads(operator.types("dead-letters", "list", "--json").out)
    assert kept["replayed_at"] is not None


def test_all_photos_of_a_code_are_replayed_with_their_letters(operator: Operator) -> None:
    first, letter = undeliverable(1)
    second, _ = undeliverable(2)
    other = builders.failed(3, code=FailureCode.ATTEMPTS_EXHAUSTED)
    operator.keep(first, second, other, letters=[letter])
    command = ("dead-letters", "replay", "--code", UNDELIVERABLE.value)
    assert "2 photos" in operator.types(*command, "--dry-run").out
    assert operator.enqueued() == 0

    done = operator.types(*command)
    assert done.events == ["media_replayed"] * 2
    assert [operator.state(number) for number in (1, 2, 3)] == [
        State.UPLOADED,
        State.UPLOADED,
        State.FAILED,
    ]
    [kept] = json.loads(operator.types("dead-letters", "list", "--json").out)
    assert kept["replayed_at"] is not None

    again = operator.types(*command)
    assert again.out == "No photo is FAILED with message-undeliverable: nothing to do.\n"
    assert operator.enqueued() == 2


def test_a_limit_says_that_there_may_be_more(operator: Operator) -> None:
    operator.keep(*(builders.failed(number, code=UNDELIVERABLE) for number in (1, 2, 3)))
    done = operator.types("dead-letters", "replay", "--code", UNDELIVERABLE.value, "--limit", "2")
    assert "there may be more, run it again" in done.out
    assert operator.enqueued() == 2


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("dead-letters", "show", "x"), "pipeline dead-letters: there is no dead letter x\n"),
        (("dead-letters", "dismiss", "x"), "pipeline dead-letters: there is no dead letter x\n"),
        (("dead-letters", "replay", "x"), "pipeline dead-letters: there is no dead letter x\n"),
        (("media", "show", "x"), "pipeline media: there is no media x\n"),
        (("media", "requeue", "x"), "pipeline media: there is no media x\n"),
    ],
)
def test_an_unknown_id_is_one_clear_line(
    operator: Operator, words: tuple[str, ...], sentence: str
) -> None:
    answer = operator.types(*words)
    assert (answer.code, answer.out, answer.err) == (1, "", sentence)


def test_a_letter_that_names_no_photo_cannot_be_replayed(operator: Operator) -> None:
    operator.keep(letters=[replace(builders.letter(1), media_id=None)])
    answer = operator.types("dead-letters", "replay", "letter-1")
    assert answer.code == 1
    assert "unreadable" in answer.err


def test_a_letter_is_dismissed_once_and_kept(operator: Operator) -> None:
    operator.keep(letters=[replace(builders.letter(1), media_id=None), builders.letter(2)])
    assert json.loads(operator.types("status", "--json").out)["dead_letters"] == 2

    first = operator.types("dead-letters", "dismiss", "letter-1")
    assert (first.code, first.events) == (0, ["dead_letter_dismissed"])
    assert first.out == "letter-1 is dismissed; its copy is kept.\n"
    assert json.loads(operator.types("status", "--json").out)["dead_letters"] == 1

    second = operator.types("dead-letters", "dismiss", "letter-1")
    assert (second.code, second.events) == (0, ["dead_letter_not_dismissed"])
    assert "nothing to do" in second.out
    kept = json.loads(operator.types("dead-letters", "show", "letter-1", "--json").out)
    assert kept["dismissed_at"] is not None


def test_a_letter_that_was_replayed_is_not_dismissed(operator: Operator) -> None:
    media, letter = undeliverable(1)
    operator.keep(media, letters=[letter])
    operator.types("dead-letters", "replay", letter.id)
    answer = operator.types("dead-letters", "dismiss", letter.id)
    assert (answer.code, answer.events) == (0, ["dead_letter_not_dismissed"])
    assert "was replayed" in answer.out


# --- photos ----------------------------------------------------------------------------------


def test_a_failed_photo_is_requeued_once(operator: Operator) -> None:
    operator.keep(builders.failed(1))
    assert operator.types("media", "requeue", ulid(1), "--dry-run").events == []
    assert operator.state(1) is State.FAILED
    answer = operator.types("media", "requeue", ulid(1), "--json")
    assert answer.json == [{"media_id": ulid(1), "replayed": True, "dry_run": False}]
    second = operator.types("media", "requeue", ulid(1), "--json")
    assert second.json == [
        {"media_id": ulid(1), "replayed": False, "dry_run": False, "status": "UPLOADED"}
    ]
    assert operator.enqueued() == 1


@pytest.mark.parametrize("state", sorted(set(State) - {State.FAILED}))
def test_no_other_photo_is_requeued(operator: Operator, state: State) -> None:
    operator.keep(builders.in_state(state, 1))
    answer = operator.types("media", "requeue", ulid(1))
    assert (answer.code, answer.events) == (0, ["media_not_replayed"])
    assert (operator.state(1), operator.enqueued()) == (state, 0)


@pytest.mark.parametrize("state", State)
def test_a_photo_is_shown_in_every_state(operator: Operator, state: State) -> None:
    operator.keep(builders.in_state(state, 1))
    shown = operator.types("media", "show", ulid(1))
    assert shown.code == 0
    assert ulid(1) in shown.out
    assert state in shown.out
    plain = json.loads(operator.types("media", "show", ulid(1), "--json").out)
    assert (plain["id"], plain["state"]) == (ulid(1), state)


def test_failed_photos_are_listed_by_code(operator: Operator) -> None:
    operator.keep(builders.failed(1), builders.failed(2, code=UNDELIVERABLE), builders.ready(3))
    shown = operator.types("media", "failed").out
    assert ulid(1) in shown
    assert ulid(2) in shown
    plain = json.loads(operator.types("media", "failed", "--code", "image-truncated", "--json").out)
    assert [media["id"] for media in plain] == [ulid(1)]
    none = operator.types("media", "failed", "--code", "worker-crashed").out
    assert none == "No photo is FAILED with worker-crashed.\n"


def test_an_unknown_code_is_refused_with_those_there_are(operator: Operator) -> None:
    answer = operator.types("media", "failed", "--code", "bad-luck")
    assert answer.code == 2
    assert "image-truncated" in answer.err


# --- status ----------------------------------------------------------------------------------


def test_status_counts_by_state_and_tells_the_latest_failures(operator: Operator) -> None:
    media, letter = undeliverable(4)
    operator.keep(builders.uploaded(1), builders.ready(2), builders.ready(3), media)
    operator.keep(letters=[letter])
    shown = operator.types("status").out
    assert "message-undeliverable" in shown
    plain = json.loads(operator.types("status", "--json").out)
    counts = {state: entry["count"] for state, entry in plain["media"].items()}
    assert {state for state, count in counts.items() if count} == {"UPLOADED", "READY", "FAILED"}
    assert counts["READY"] == 2
    assert plain["media"]["UPLOADED"]["oldest_seconds"] > 0
    assert plain["media"]["READY"]["oldest_seconds"] is None
    assert (plain["dead_letters"], plain["outbox"]["due"]) == (1, 0)
    assert [one["media_id"] for one in plain["recent_failures"]] == [ulid(4)]


def test_a_folder_without_a_pipeline_is_told_and_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DATA_DIR", str(tmp_path))
    with pytest.raises(SystemExit) as ended:
        cli.main(["status"])
    assert ended.value.code == 2
    assert f"There is no embedded pipeline in {tmp_path}" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
