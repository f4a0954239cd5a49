"""Settings that are missing, wrong or in use: exit code 2, and a sentence for each at once."""

import socket
from collections.abc import Generator, Mapping
from pathlib import Path

import pytest

from tests.support.product import run_once
from tests.support.systems import machine

SECRET = "a-very-secret-word"
PRODUCTION: Mapping[str, str] = {
    "DATABASE_URL": f"postgresql://user:{SECRET}@127.0.0.1:1/media",
    "RABBITMQ_URL": f"amqp://user:{SECRET}@127.0.0.1:1/",
    "MINIO_ENDPOINT": "http://127.0.0.1:1",
    "MINIO_ACCESS_KEY": "access",
    "MINIO_SECRET_KEY": SECRET,
    "API_HOST": "127.0.0.1",
}
PORTS = {
    "api": "API_PORT",
    "worker": "WORKER_METRICS_PORT",
    "dispatcher": "DISPATCHER_METRICS_PORT",
    "embedded": "API_PORT",
}


def refused(role: str, environment: Mapping[str, str], folder: Path) -> list[str]:
    """The sentences with which the process ends."""
    ended = run_once(role, {**machine(folder), "DATA_DIR": str(folder / "data"), **environment})
    assert ended.returncode == 2, ended.stderr
    assert ended.stdout == ""
    assert SECRET not in ended.stderr
    sentences = ended.stderr.splitlines()
    assert all(sentence.endswith(".") for sentence in sentences), sentences
    return sentences


@pytest.fixture
def taken_port() -> Generator[int]:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        yield other.getsockname()[1]


def test_every_missing_setting_is_named_at_once(tmp_path: Path) -> None:
    names = [name for name in PRODUCTION if name != "API_HOST"]
    assert refused("worker", {}, tmp_path) == [
        f"{name} is not set, and `pipeline worker` cannot run without it." for name in names
    ]


def test_the_api_needs_no_broker(tmp_path: Path) -> None:
    sentences = refused("api", {}, tmp_path)
    assert not [sentence for sentence in sentences if "RABBITMQ_URL" in sentence]
    assert len(sentences) == 4


def test_every_wrong_setting_is_named_at_once(tmp_path: Path) -> None:
    wrong = {
        **PRODUCTION,
        "API_PORT": "eighty",
        "WORKER_CONCURRENCY": "0",
        "LEASE_SECONDS": "soon",
    }
    sentences = refused("worker", wrong, tmp_path)
    assert [sentence.split()[0] for sentence in sentences] == [
        "API_PORT",
        "WORKER_CONCURRENCY",
        "LEASE_SECONDS",
    ]


def test_settings_that_contradict_each_other_are_named_at_once(tmp_path: Path) -> None:
    wrong = {**PRODUCTION, "LEASE_SECONDS": "100", "REQUEUE_SECONDS": "50", "LOG_LEVEL": "loud"}
    sentences = refused("worker", wrong, tmp_path)
    assert {sentence.split()[0] for sentence in sentences} == {"REQUEUE_SECONDS", "LOG_LEVEL"}


def test_a_url_without_its_scheme_is_refused_without_showing_its_password(tmp_path: Path) -> None:
    wrong = {**PRODUCTION, "DATABASE_URL": f"user:{SECRET}@somewhere/media"}
    (sentence,) = refused("api", wrong, tmp_path)
    assert sentence.startswith("DATABASE_URL must be a URL")


@pytest.mark.parametrize("role", list(PORTS))
def test_a_second_instance_on_a_taken_port_ends_with_one_sentence(
    role: str, taken_port: int, tmp_path: Path
) -> None:
    environment = {**PRODUCTION, PORTS[role]: str(taken_port)}
    assert refused(role, environment, tmp_path) == [
        f"{PORTS[role]} is {taken_port}, and nothing can listen there: Address already in use."
    ]
