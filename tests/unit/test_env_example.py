"""`.env.example` lists every setting, with its default, and what docker-compose.yml reads."""

import re
from dataclasses import dataclass
from pathlib import Path

import pytest

from entrypoints.settings import Role, Settings, load
from entrypoints.settings_rules import broken_rules

ROOT = Path(__file__).parents[2]
LINE = re.compile(r"(?P<off>#?)(?P<name>[A-Z][A-Z0-9_]*)=(?P<value>.*)")
STANDARD = {
    "OTEL_TRACES_SAMPLER",
    "OTEL_TRACES_SAMPLER_ARG",
    "OTEL_RESOURCE_ATTRIBUTES",
    "OTEL_SEMCONV_STABILITY_OPT_IN",
}
# Defaults that depend on the machine.
BY_MACHINE = {"WORKER_CONCURRENCY", "DATABASE_POOL_SIZE"}
# Set in the file for development, whatever their default.
DEVELOPMENT = {
    "DATABASE_URL",
    "RABBITMQ_URL",
    "MINIO_ENDPOINT",
    "MINIO_PUBLIC_ENDPOINT",
    "MINIO_ACCESS_KEY",
    "MINIO_SECRET_KEY",
}
SETTINGS = [name.upper() for name in Settings.__struct_fields__]


@dataclass(frozen=True)
class Entry:
    name: str
    value: str
    is_set: bool
    comment: str


def entries() -> list[Entry]:
    """Each variable with the comment lines above it."""
    found: list[Entry] = []
    comment = ""
    for line in (ROOT / ".env.example").read_text(encoding="utf-8").splitlines():
        if match := LINE.fullmatch(line):
            is_set = not match["off"]
            found.append(Entry(match["name"], match["value"], is_set, comment))
        else:
            comment = comment + line if line.startswith("# ") else ""
    return found


ENTRIES = {entry.name: entry for entry in entries()}
COMPOSE = (ROOT / "docker-compose.yml").read_text(encoding="utf-8")
COMPOSE_DEFAULTS = dict(re.findall(r"\$\{([A-Z0-9_]+):-([^}]*)\}", COMPOSE))
COMPOSE_ONLY = COMPOSE_DEFAULTS.keys() - set(SETTINGS) - STANDARD


def test_every_setting_is_listed_once_and_nothing_else() -> None:
    names = [entry.name for entry in entries()]
    assert len(names) == len(set(names))
    assert set(names) == {*SETTINGS, *STANDARD, *COMPOSE_ONLY}


def test_settings_stand_in_the_order_of_the_table() -> None:
    assert [name for name in ENTRIES if name in SETTINGS] == SETTINGS


def test_every_entry_has_a_meaning() -> None:
    assert [entry.name for entry in entries() if len(entry.comment) < 10] == []


def test_only_values_for_development_are_set() -> None:
    assert {entry.name for entry in entries() if entry.is_set} == DEVELOPMENT


@pytest.mark.parametrize("name", [n for n in SETTINGS if n not in DEVELOPMENT | BY_MACHINE])
def test_the_value_shown_is_the_default(name: str) -> None:
    loaded = load(Role.EMBEDDED, {name: ENTRIES[name].value})
    assert getattr(loaded, name.lower()) == getattr(Settings(), name.lower())


@pytest.mark.parametrize("role", Role)
def test_the_values_for_development_are_complete(role: Role) -> None:
    load(role, {entry.name: entry.value for entry in entries() if entry.is_set})


def test_every_default_together_breaks_no_rule() -> None:
    load(Role.WORKER, {entry.name: entry.value for entry in entries()})
    for role in Role:
        assert broken_rules(Settings(), role, apart_from=frozenset()) == []


@pytest.mark.parametrize("name", sorted(COMPOSE_ONLY))
def test_what_only_compose_reads_is_shown_with_its_default(name: str) -> None:
    assert ENTRIES[name].value == COMPOSE_DEFAULTS[name]


def test_compose_hands_on_no_variable_that_nobody_reads() -> None:
    environment = COMPOSE.split("x-environment:")[1].split("x-ready:")[0]
    names = set(re.findall(r"^  ([A-Z0-9_]+):", environment, re.MULTILINE))
    assert names <= {*SETTINGS, *STANDARD}
    assert "DATABASE_URL" in names


@pytest.mark.parametrize("name", sorted(DEVELOPMENT & COMPOSE_DEFAULTS.keys()))
def test_values_for_development_are_those_of_compose(name: str) -> None:
    assert ENTRIES[name].value == COMPOSE_DEFAULTS[name]
