"""What the documents draw, name and count is what the code says."""

import re
from pathlib import Path

import pytest

from domain.lifecycle import MACHINE, TERMINAL, State
from entrypoints.cli import main
from entrypoints.settings import Settings
from tests.simulation.mutants import MUTANTS

ROOT = Path(__file__).parents[2]
DOCUMENTS = (
    *("README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "LEARNING_PLAN.md", "CHANGELOG.md"),
    *(path.relative_to(ROOT).as_posix() for path in sorted((ROOT / "docs").glob("*.md"))),
)
FOLDERS = (
    *("domain", "application", "adapters", "entrypoints", "tests"),
    *("docs", "deploy", "requirements", r"\.ci", "benchmarks"),
)
SUFFIXES = ("py", "md", "sql", "toml", "yml", "txt", "json")

CODE = re.compile(r"```.*?```|`[^`\n]+`", re.DOTALL)
FILE = re.compile(
    rf"(?<![\w./])(?:{'|'.join(FOLDERS)})/[\w./-]*|\b[\w-]+\.(?:{'|'.join(SUFFIXES)})\b"
)
MODULE = re.compile(r"\btests(?:\.\w+)+")
TARGET = re.compile(r"\bmake ([a-z][a-z-]*)")
COMMAND = re.compile(
    r"(?:^|/|; |--rm \w+ )pipeline ([a-z][a-z-]*)(?: ([a-z][a-z-]*))?", re.MULTILINE
)
VARIABLE = re.compile(r"(?<![\w$%])[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+\b")
DEFECT = re.compile(r"exercises\.defect\s+([a-z_]+)")
TEST = re.compile(r"(tests/[\w/]+\.py)::(\w+)")
LINK = re.compile(r"\]\((?!https?:)([^)#]*)(?:#([^)]+))?\)")

# Content types, the pattern of a name, and what a command makes.
NO_FILES = {
    "application/json",
    "application/problem",
    "NNNN_what_it_does.sql",
}
# Where a name in capitals may come from, besides the settings.
OTHER_SOURCES = (
    *("Makefile", "docker-compose.yml", ".env.example", ".ci/install-services"),
    *("tests/conftest.py", "tests/support/services.py", "tests/support/servers.py"),
    *("domain/lifecycle.py", "domain/failure.py", "docs/telemetry.md", "deploy/compose-test"),
)
WITH_ACTIONS = {"media", "dead-letters"}


def text(document: str) -> str:
    return (ROOT / document).read_text(encoding="utf-8")


def code(document: str) -> str:
    """What stands in code blocks and between backticks, a line for each."""
    return "\n".join(found.strip("`") for found in CODE.findall(text(document)))


@pytest.fixture(params=DOCUMENTS)
def document(request: pytest.FixtureRequest) -> str:
    return str(request.param)


# --- names -----------------------------------------------------------------------------------


def test_every_file_that_is_named_exists(document: str) -> None:
    named = {name.rstrip("/.") for name in FILE.findall(code(document))} - NO_FILES
    assert [name for name in sorted(named) if not _exists(name)] == []


def test_every_module_that_is_run_exists(document: str) -> None:
    named = {name.replace(".", "/") for name in MODULE.findall(code(document))}
    missing = [name for name in named if not (ROOT / name).is_dir()]
    assert [name for name in missing if not (ROOT / f"{name}.py").is_file()] == []


def test_every_make_target_that_is_named_exists(document: str) -> None:
    targets = set(re.findall(r"^([a-z-]+):", text("Makefile"), re.MULTILINE))
    assert set(TARGET.findall(code(document))) <= targets


def test_every_pipeline_command_that_is_named_exists(
    document: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for command, action in sorted(set(COMMAND.findall(code(document)))):
        words = [command, action] if command in WITH_ACTIONS and action else [command]
        with pytest.raises(SystemExit) as ended:
            main([*words, "--help"])
        assert ended.value.code == 0, capsys.readouterr().err


def test_every_setting_that_is_named_exists(document: str) -> None:
    known = {name.upper() for name in Settings.__struct_fields__}
    others = "\n".join(text(source) for source in OTHER_SOURCES)
    named = set(VARIABLE.findall(code(document))) - known
    assert [name for name in sorted(named) if not re.search(rf"\b{name}\b", others)] == []


def test_every_link_leads_somewhere(document: str) -> None:
    for path, anchor in LINK.findall(text(document)):
        target = (ROOT / document).parent / path if path else ROOT / document
        assert target.exists(), path
        if anchor:
            headings = re.findall(r"^#+ (.+)$", target.read_text(encoding="utf-8"), re.MULTILINE)
            assert anchor in {_anchor(heading) for heading in headings}


def test_every_defect_and_test_of_the_course_exists() -> None:
    course = text("LEARNING_PLAN.md")
    assert set(DEFECT.findall(course)) <= {mutant.__name__ for mutant in MUTANTS}
    for path, name in TEST.findall(course):
        assert f"def {name}(" in text(path)


# --- the course and the changelog ------------------------------------------------------------


def test_every_unit_of_the_course_is_whole() -> None:
    course = text("LEARNING_PLAN.md")
    units = re.split(r"^## (?=\d)", course, flags=re.MULTILINE)[1:]
    assert [int(unit.split(maxsplit=1)[0]) for unit in units] == list(range(1, len(units) + 1))
    assert len(units) >= 8
    for unit in units:
        for part in ("**Goals.**", "**Read**", "**Exercise", "**Questions**", "<details>", "- [ ]"):
            assert part in unit, f"unit {unit.splitlines()[0]} has no {part}"
        asked, answered = unit.split("<details>")
        numbered = re.compile(r"^\d\. ", re.MULTILINE)
        assert len(numbered.findall(asked)) == len(numbered.findall(answered))


def test_the_number_of_deliberate_defects_is_told_right() -> None:
    assert len(MUTANTS) == 17
    assert "Seventeen deliberate defects" in text("ARCHITECTURE.md")


# --- drawings --------------------------------------------------------------------------------


def test_the_state_diagram_is_drawn_from_the_machine() -> None:
    diagram = _mermaid()

    assert diagram in text("ARCHITECTURE.md"), f"paste this:\n{diagram}"


def _mermaid() -> str:
    """The lifecycle as Mermaid draws it; one line for each arrow of the machine."""
    lines = ["stateDiagram-v2", "    [*] --> PENDING_UPLOAD"]
    for event in MACHINE.events.values():
        for transitions in event.transitions.values():
            lines += [f"    {one.source} --> {one.dest}: {event.name}" for one in transitions]
    reached = {line.split(" --> ")[1].split(":")[0] for line in lines[1:]}
    lines += [f"    {state} --> [*]" for state in State if state in TERMINAL & reached]
    return "\n".join(lines)


def _exists(name: str) -> bool:
    """A path from the root, or the bare name of a file somewhere in the code."""
    if (ROOT / name).exists():
        return True
    folders = (ROOT / folder.replace("\\", "") for folder in FOLDERS)
    return "/" not in name and any(next(folder.rglob(name), None) for folder in folders)


def _anchor(heading: str) -> str:
    """As GitHub makes it."""
    return re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")
