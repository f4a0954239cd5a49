"""Settings: every problem is one full sentence, all come at once, and none shows a secret."""

import io
from importlib.machinery import ModuleSpec
from pathlib import Path

import pytest
from rich.console import Console

from domain.errors import InvalidConfiguration
from entrypoints import cli, settings_rules
from entrypoints.settings import Engine, LogLevel, Role, Settings, load, names_servers

SECRET = "s3cr3t-Zx9"
SERVERS = {
    "DATABASE_URL": f"postgresql://pipeline:{SECRET}@db:5432/pipeline",
    "RABBITMQ_URL": f"amqp://pipeline:{SECRET}@mq:5672/",
    "MINIO_ENDPOINT": "http://minio:9000",
    "MINIO_ACCESS_KEY": "pipeline",
    "MINIO_SECRET_KEY": SECRET,
}


def problems(role: Role, **changes: str) -> list[str]:
    """The sentences for the servers' settings with `changes`; each is one, and shows no secret."""
    with pytest.raises(InvalidConfiguration) as raised:
        load(role, SERVERS | changes)
    for sentence in raised.value.problems:
        assert sentence[0].isupper()
        assert sentence.endswith(".")
        assert "\n" not in sentence
        assert SECRET not in sentence
    return list(raised.value.problems)


# --- what is fine ----------------------------------------------------------------------------


def test_the_embedded_pipeline_needs_no_setting() -> None:
    assert load(Role.EMBEDDED, {}) == Settings()


@pytest.mark.parametrize("role", Role)
def test_the_servers_are_enough_for_every_process(role: Role) -> None:
    assert load(role, SERVERS).minio_bucket == "media"


def test_an_empty_variable_is_the_same_as_none() -> None:
    assert load(Role.EMBEDDED, {"API_PORT": "", "RECIPE": "  "}) == Settings()


def test_choices_may_be_written_in_capitals() -> None:
    loaded = load(Role.EMBEDDED, {"LOG_LEVEL": "WARNING", "IMAGE_ENGINE": "Pillow"})
    assert loaded.log_level is LogLevel.WARNING
    assert loaded.image_engine is Engine.PILLOW


def test_links_lead_to_the_public_endpoint_and_else_to_the_only_one() -> None:
    assert load(Role.API, SERVERS).store_url == "http://minio:9000"
    public = {"MINIO_PUBLIC_ENDPOINT": "https://photos.example.com"}
    assert load(Role.API, SERVERS | public).store_url == "https://photos.example.com"


def test_postgres_may_be_reached_through_a_socket() -> None:
    load(Role.OPERATOR, {"DATABASE_URL": "postgresql:///pipeline?host=/run/postgresql"})


def test_a_share_of_the_cores_is_enough_connections_on_any_machine(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def cores(_: int) -> range:
        return range(96)

    monkeypatch.setattr("os.sched_getaffinity", cores, raising=False)
    assert load(Role.WORKER, SERVERS).worker_concurrency == 96


# --- what is missing -------------------------------------------------------------------------


@pytest.mark.parametrize("role", [Role.WORKER, Role.DISPATCHER, Role.MIGRATE])
def test_every_missing_server_is_named(role: Role) -> None:
    with pytest.raises(InvalidConfiguration) as raised:
        load(role, {})
    assert raised.value.problems == tuple(
        f"{name} is not set, and `pipeline {role}` cannot run without it." for name in SERVERS
    )


def test_the_api_needs_no_broker() -> None:
    with pytest.raises(InvalidConfiguration) as raised:
        load(Role.API, {})
    assert not any("RABBITMQ" in sentence for sentence in raised.value.problems)


def test_blanks_are_no_value() -> None:
    assert problems(Role.WORKER, RABBITMQ_URL="  ") == [
        "RABBITMQ_URL is not set, and `pipeline worker` cannot run without it."
    ]


def test_an_operator_works_on_the_embedded_set_where_no_server_is_named() -> None:
    assert not names_servers({"DATA_DIR": "data"})
    load(Role.OPERATOR, {})
    load(Role.DOCTOR, {})


def test_an_operator_never_works_on_the_wrong_set_by_mistake() -> None:
    with pytest.raises(InvalidConfiguration) as raised:
        load(Role.OPERATOR, {"RABBITMQ_URL": SERVERS["RABBITMQ_URL"]})
    assert raised.value.problems == (
        "DATABASE_URL is not set, although another server of the production set is named.",
    )


# --- what is of the wrong type ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("API_PORT", "eighty", "API_PORT must be a whole number from 0 to 65535."),
        ("API_PORT", "65536", "API_PORT must be a whole number from 0 to 65535."),
        ("ATTEMPTS_MAX", "0", "ATTEMPTS_MAX must be a whole number, 1 or more."),
        ("ATTEMPTS_MAX", "2.5", "ATTEMPTS_MAX must be a whole number, 1 or more."),
        ("LEASE_SECONDS", "-1", "LEASE_SECONDS must be a number of seconds above 0."),
        ("LEASE_SECONDS", "inf", "LEASE_SECONDS must be a number of seconds above 0."),
        ("LEASE_SECONDS", "nan", "LEASE_SECONDS must be a number of seconds above 0."),
        ("RETRY_FACTOR", "0.5", "RETRY_FACTOR must be a number, 1 or more."),
        ("IMAGE_ENGINE", "gimp", "IMAGE_ENGINE must be pillow or vips."),
        ("LOG_FORMAT", "xml", "LOG_FORMAT must be auto, json or text."),
        ("LOG_LEVEL", "loud", "LOG_LEVEL must be debug, info, warning or error."),
        ("API_PORT", SECRET, "API_PORT must be a whole number from 0 to 65535."),
    ],
)
def test_a_value_of_the_wrong_type_is_told_without_the_value(
    name: str, value: str, sentence: str
) -> None:
    assert problems(Role.WORKER, **{name: value}) == [sentence]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DATABASE_URL", "mysql://db/pipeline"),
        ("DATABASE_URL", "db:5432"),
        ("DATABASE_URL", f"postgresql://pipeline:{SECRET}/slash@db:5432/pipeline"),
        ("RABBITMQ_URL", f"amqp://pipeline:{SECRET}[@mq:5672/"),
        ("RABBITMQ_URL", "http://mq:5672/"),
        ("MINIO_ENDPOINT", "minio:9000"),
        ("MINIO_ENDPOINT", f"http://pipeline:{SECRET}@minio:9000"),
        ("MINIO_PUBLIC_ENDPOINT", "http://localhost:9000/media"),
        ("MINIO_PUBLIC_ENDPOINT", "http://localhost:99999"),
        ("PUBLIC_URL", "localhost"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "jaeger:4318"),
    ],
)
def test_a_url_of_the_wrong_form_is_told_with_the_right_form(name: str, value: str) -> None:
    [sentence] = problems(Role.WORKER, **{name: value})
    assert sentence.startswith(f"{name} must be a URL of the form ")


# --- what does not go together ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("role", "changes", "beginning"),
    [
        (Role.WORKER, {"LEASE_SECONDS": "2.9"}, "LEASE_SECONDS must be at least 3"),
        (Role.WORKER, {"LEASE_SECONDS": "90"}, "REQUEUE_SECONDS must not be smaller than LEASE"),
        (Role.API, {"RETRY_BASE_SECONDS": "700"}, "RETRY_CAP_SECONDS must not be smaller than"),
        (Role.WORKER, {"GRACE_SECONDS": "601"}, "GRACE_SECONDS must be at most 600"),
        (Role.WORKER, {"DECODE_TIMEOUT_SECONDS": "601"}, "DECODE_TIMEOUT_SECONDS must be at most"),
        (
            Role.WORKER,
            {"DATABASE_POOL_SIZE": "2", "WORKER_CONCURRENCY": "9"},
            "DATABASE_POOL_SIZE must be at least a quarter of WORKER_CONCURRENCY",
        ),
        (Role.WORKER, {"MAX_PIXELS": "300000000"}, "WORKER_MEMORY_BYTES must be at least 8 times"),
        (Role.EMBEDDED, {"API_PORT": "9091"}, "API_PORT and WORKER_METRICS_PORT must differ"),
        (Role.API, {"UPLOAD_LINK_SECONDS": "604801"}, "UPLOAD_LINK_SECONDS must be at most"),
        (Role.API, {"DOWNLOAD_LINK_SECONDS": "604801"}, "DOWNLOAD_LINK_SECONDS must be at most"),
        (Role.API, {"MAX_UPLOAD_BYTES": "5368709121"}, "MAX_UPLOAD_BYTES must be at most"),
        (Role.API, {"MINIO_BUCKET": "My_Photos"}, "MINIO_BUCKET must be 3 to 63 lower-case"),
        (Role.API, {"MINIO_BUCKET": "a..b"}, "MINIO_BUCKET must be 3 to 63 lower-case"),
        (Role.EMBEDDED, {"DATA_DIR": __file__}, "DATA_DIR must name a folder"),
        (Role.WORKER, {"SCRATCH_DIR": __file__}, "SCRATCH_DIR must name a folder"),
        (
            Role.API,
            {"CORS_ORIGINS": "*, www.example.com"},
            "CORS_ORIGINS must be *, none or origins",
        ),
        (
            Role.API,
            {"CORS_ORIGINS": "https://a.example/x"},
            "CORS_ORIGINS must be *, none or origins",
        ),
        (Role.WORKER, {"RECIPE": "/nowhere.toml"}, "RECIPE is neither a readable TOML file nor"),
        (Role.WORKER, {"RECIPE": "name = "}, "RECIPE is neither a readable TOML file nor"),
        (Role.WORKER, {"RECIPE": 'name = "x"'}, "RECIPE: "),
        (Role.WORKER, {"RECIPE": "/bin/true"}, "RECIPE is neither a readable TOML file nor"),
    ],
)
def test_a_broken_rule_is_told(role: Role, changes: dict[str, str], beginning: str) -> None:
    [sentence] = problems(role, **changes)
    assert sentence.startswith(beginning)


def test_vips_must_be_installed_where_photos_are_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    def not_installed(name: str) -> ModuleSpec | None:
        assert name == "pyvips"
        return None

    monkeypatch.setattr(settings_rules, "find_spec", not_installed)
    [sentence] = problems(Role.WORKER, IMAGE_ENGINE="vips")
    assert "pip install 'image-pipeline[vips]'" in sentence
    load(Role.API, SERVERS | {"IMAGE_ENGINE": "vips"})


def test_rules_of_other_processes_do_not_matter() -> None:
    load(Role.API, SERVERS | {"API_PORT": "9091", "MAX_PIXELS": "300000000"})


def test_a_rule_says_nothing_about_a_value_that_is_unusable_anyway() -> None:
    assert problems(Role.WORKER, LEASE_SECONDS="x", REQUEUE_SECONDS="1") == [
        "LEASE_SECONDS must be a number of seconds above 0."
    ]


def test_all_problems_come_at_once() -> None:
    found = problems(
        Role.WORKER,
        DATABASE_URL="",
        RABBITMQ_URL="mq",
        API_PORT="x",
        GRACE_SECONDS="1000",
        RECIPE="/nowhere.toml",
    )
    names = ["API_PORT", "DATABASE_URL", "RABBITMQ_URL", "GRACE_SECONDS", "RECIPE"]
    assert [sentence.split()[0] for sentence in found] == names


# --- secrets, and the command line -----------------------------------------------------------


def test_settings_show_nothing_of_themselves() -> None:
    loaded = load(Role.WORKER, SERVERS)
    console = Console(file=io.StringIO(), width=200)
    console.print(loaded)
    assert isinstance(console.file, io.StringIO)
    assert SECRET not in repr(loaded) + str(loaded) + console.file.getvalue()


def test_a_process_ends_with_2_and_a_line_for_each_problem(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    for name in SERVERS:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LEASE_SECONDS", SECRET)
    with pytest.raises(SystemExit) as ended:
        cli.main(["worker"])
    assert ended.value.code == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert len(err.splitlines()) == 1 + len(SERVERS)
    assert SECRET not in err


@pytest.mark.parametrize(
    ("text", "origins"),
    [
        ("", ("*",)),
        ("none", ()),
        ("https://a.example, https://b.example", ("https://a.example", "https://b.example")),
    ],
)
def test_one_word_switches_cors_off(text: str, origins: tuple[str, ...]) -> None:
    assert load(Role.EMBEDDED, {"CORS_ORIGINS": text}).allowed_origins == origins
