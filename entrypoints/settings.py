"""Every setting, typed; the only reader of the environment.

`load` reports all problems at once, one full sentence for each. `.env.example` is compared with
this table by a test.
"""

import os
import tomllib
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, get_type_hints
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta

from domain.errors import InvalidConfiguration
from domain.recipe import Recipe, default_recipe
from domain.retry_policy import RetryPolicy
from entrypoints.recipes import parse_recipe

MIB = 1024 * 1024
RENEWALS_PER_LEASE = 3


class Role(StrEnum):
    """The processes of the product."""

    API = "api"
    WORKER = "worker"
    DISPATCHER = "dispatcher"
    MIGRATE = "migrate"
    EMBEDDED = "embedded"
    OPERATOR = "operator"


class Engine(StrEnum):
    PILLOW = "pillow"
    VIPS = "vips"


class LogFormat(StrEnum):
    AUTO = "auto"
    JSON = "json"
    TEXT = "text"


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


Port = Annotated[int, Meta(ge=0, le=65535)]
Seconds = Annotated[float, Meta(gt=0)]
Count = Annotated[int, Meta(ge=1)]


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """Names are the environment variables in lower case; each comment is its meaning."""

    # --- servers (production set) ---
    database_url: str = ""
    database_pool_size: Count = 10
    rabbitmq_url: str = ""
    minio_endpoint: str = ""
    minio_public_endpoint: str = ""
    minio_access_key: str = ""
    minio_secret_key: str = ""
    minio_bucket: str = "media"
    minio_region: str = "us-east-1"
    # --- embedded set ---
    data_dir: Path = Path("data")
    public_url: str = ""
    # --- HTTP ---
    api_host: str = "0.0.0.0"  # noqa: S104 - a server is there to be reached; set API_HOST to narrow it
    api_port: Port = 8080
    worker_metrics_port: Port = 9091
    dispatcher_metrics_port: Port = 9092
    cors_origins: str = "*"
    # --- uploads and links ---
    max_upload_bytes: Count = 50 * MIB
    upload_link_seconds: Count = 900
    download_link_seconds: Count = 3600
    # --- worker ---
    worker_concurrency: Count = msgspec.field(default_factory=_cores)
    worker_memory_bytes: Count = 2048 * MIB
    lease_seconds: Seconds = 15.0
    grace_seconds: Seconds = 20.0
    scratch_dir: str = ""
    # --- retries ---
    attempts_max: Count = 5
    retry_base_seconds: Seconds = 2.0
    retry_factor: Annotated[float, Meta(ge=1)] = 4.0
    retry_cap_seconds: Seconds = 600.0
    requeue_seconds: Seconds = 60.0
    sweep_seconds: Seconds = 60.0
    # --- pictures ---
    image_engine: Engine = Engine.PILLOW
    max_pixels: Count = 50_000_000
    decode_timeout_seconds: Seconds = 30.0
    recipe: str = ""
    # --- telemetry ---
    log_format: LogFormat = LogFormat.AUTO
    log_level: str = "info"
    otel_exporter_otlp_endpoint: str = ""

    def retry_policy(self) -> RetryPolicy:
        return RetryPolicy(
            attempts_max=self.attempts_max,
            base_seconds=self.retry_base_seconds,
            factor=self.retry_factor,
            cap_seconds=self.retry_cap_seconds,
            requeue_seconds=self.requeue_seconds,
            sweep_seconds=self.sweep_seconds,
        )

    def image_recipe(self) -> Recipe:
        return parse_recipe(self.recipe) if self.recipe else default_recipe()

    @property
    def store_url(self) -> str:
        """The endpoint that clients reach the object store by."""
        return self.minio_public_endpoint or self.minio_endpoint

    @property
    def embedded_url(self) -> str:
        """Where clients of the embedded set reach the API."""
        host = "localhost" if self.api_host in ("0.0.0.0", "127.0.0.1", "::") else self.api_host  # noqa: S104
        return self.public_url or f"http://{host}:{self.api_port}"

    def __repr__(self) -> str:
        """Secrets hide in URLs and keys, so nothing is shown."""
        return "Settings(...)"


_SERVERS = (
    "database_url",
    "rabbitmq_url",
    "minio_endpoint",
    "minio_access_key",
    "minio_secret_key",
)
REQUIRED: dict[Role, tuple[str, ...]] = {
    Role.API: ("database_url", "minio_endpoint", "minio_access_key", "minio_secret_key"),
    Role.WORKER: _SERVERS,
    Role.DISPATCHER: _SERVERS,
    Role.MIGRATE: _SERVERS,
    Role.OPERATOR: _SERVERS,
    Role.EMBEDDED: (),
}
_SCHEMES: dict[str, tuple[str, ...]] = {
    "database_url": ("postgresql", "postgres"),
    "rabbitmq_url": ("amqp", "amqps"),
    "minio_endpoint": ("http", "https"),
    "minio_public_endpoint": ("http", "https"),
    "public_url": ("http", "https"),
    "otel_exporter_otlp_endpoint": ("http", "https"),
}


def load(role: Role, environ: Mapping[str, str] | None = None) -> Settings:
    """The settings for a process; raises InvalidConfiguration with every problem found."""
    source = os.environ if environ is None else environ
    values, problems = _typed(source)
    problems += [
        f"{name.upper()} is not set, and `pipeline {role}` cannot run without it."
        for name in REQUIRED[role]
        if not source.get(name.upper())
    ]
    if problems:
        raise InvalidConfiguration(problems)
    settings = Settings(**values)
    problems = _scheme_problems(settings) + _relation_problems(settings)
    if problems:
        raise InvalidConfiguration(problems)
    return settings


def _typed(source: Mapping[str, str]) -> tuple[dict[str, Any], list[str]]:
    """Each variable that is set, converted; a sentence for each that cannot be."""
    hints = get_type_hints(Settings, include_extras=True)
    values: dict[str, Any] = {}
    problems: list[str] = []
    for name in Settings.__struct_fields__:
        text = source.get(name.upper(), "").strip()
        if not text:
            continue
        try:
            values[name] = _convert(text, hints[name])
        except msgspec.ValidationError as error:
            problems.append(f"{name.upper()} is not usable: {_reason(error)}.")
    return values, problems


def _convert(text: str, kind: Any) -> Any:
    return Path(text) if kind is Path else msgspec.convert(text, kind, strict=False)


def _reason(error: msgspec.ValidationError) -> str:
    """The validator's sentence without the value, which may be a secret."""
    return str(error).split(" - at ", maxsplit=1)[0][:1].lower() + str(error)[1:]


def _scheme_problems(settings: Settings) -> list[str]:
    problems: list[str] = []
    for name, schemes in _SCHEMES.items():
        url: str = getattr(settings, name)
        parts = urlsplit(url)
        if url and (parts.scheme not in schemes or not parts.netloc):
            expected = " or ".join(f"{scheme}://" for scheme in schemes)
            problems.append(f"{name.upper()} must be a URL that starts with {expected}.")
    return problems


def _relation_problems(settings: Settings) -> list[str]:
    problems: list[str] = []
    if settings.lease_seconds < RENEWALS_PER_LEASE:
        problems.append("LEASE_SECONDS must be at least 3, so that renewals are a second apart.")
    if settings.retry_cap_seconds < settings.retry_base_seconds:
        problems.append("RETRY_CAP_SECONDS must not be smaller than RETRY_BASE_SECONDS.")
    if settings.requeue_seconds < settings.lease_seconds:
        problems.append(
            "REQUEUE_SECONDS must not be smaller than LEASE_SECONDS: a photo would be sent again "
            "before its worker can have lost it."
        )
    if settings.log_level.upper() not in ("DEBUG", "INFO", "WARNING", "ERROR"):
        problems.append("LOG_LEVEL must be debug, info, warning or error.")
    try:
        settings.image_recipe()
    except InvalidConfiguration as error:
        problems += [f"RECIPE: {sentence}" for sentence in error.problems]
    except (OSError, tomllib.TOMLDecodeError) as error:
        problems.append(f"RECIPE is neither a readable TOML file nor TOML text: {error}.")
    return problems
