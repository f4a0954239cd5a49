"""Every setting, typed; the only reader of the environment.

`load` reports all problems at once, one full sentence for each. `.env.example` is compared with
this table by a test. What must hold between settings is in `settings_rules`.
"""

import math
import os
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import msgspec
from msgspec import Meta

from domain.errors import InvalidConfiguration
from domain.recipe import Recipe, default_recipe
from domain.retry_policy import RetryPolicy
from entrypoints.recipes import parse_recipe

MIB = 1024 * 1024
NO_ORIGINS = "none"  # a word: an empty variable is one that is not set
POOL_SIZE_MIN = 10
PHOTOS_PER_CONNECTION = 4  # each needs one for some milliseconds, a few times


class Role(StrEnum):
    """The processes of the product, and what an operator runs beside them."""

    API = "api"
    WORKER = "worker"
    DISPATCHER = "dispatcher"
    MIGRATE = "migrate"
    EMBEDDED = "embedded"
    OPERATOR = "operator"  # looks at the database, and mends what lies there
    DOCTOR = "doctor"


class Engine(StrEnum):
    PILLOW = "pillow"
    VIPS = "vips"


class LogLevel(StrEnum):
    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class LogFormat(StrEnum):
    AUTO = "auto"
    JSON = "json"
    TEXT = "text"


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _pool_size() -> int:
    return max(POOL_SIZE_MIN, math.ceil(_cores() / PHOTOS_PER_CONNECTION))


# The description completes the sentence "NAME must be ...".
Port = Annotated[int, Meta(ge=0, le=65535, description="a whole number from 0 to 65535")]
Seconds = Annotated[float, Meta(gt=0, description="a number of seconds above 0")]
Count = Annotated[int, Meta(ge=1, description="a whole number, 1 or more")]
Factor = Annotated[float, Meta(ge=1, description="a number, 1 or more")]


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """Names are the environment variables in lower case; `.env.example` tells their meaning."""

    # --- servers (production set) ---
    database_url: str = ""
    database_pool_size: Count = msgspec.field(default_factory=_pool_size)
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
    retry_factor: Factor = 4.0
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
    log_level: LogLevel = LogLevel.INFO
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
    def allowed_origins(self) -> tuple[str, ...]:
        """The web pages that may call the API; none of them switches CORS off."""
        if self.cors_origins.strip().lower() == NO_ORIGINS:
            return ()
        return tuple(one.strip() for one in self.cors_origins.split(",") if one.strip())

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

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        """What rich shows in a traceback."""
        return []


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
    Role.EMBEDDED: (),
    Role.OPERATOR: ("database_url",),
    Role.DOCTOR: _SERVERS,
}
# These work on either set: on the servers if one of them is named, else on DATA_DIR.
_EITHER_SET = frozenset({Role.OPERATOR, Role.DOCTOR})


def names_servers(environ: Mapping[str, str] | None = None) -> bool:
    """Whether the environment names a server of the production set."""
    source = os.environ if environ is None else environ
    return any(source.get(name.upper(), "").strip() for name in _SERVERS)


def load(role: Role, environ: Mapping[str, str] | None = None) -> Settings:
    """The settings for a process; raises InvalidConfiguration with every problem found."""
    from entrypoints.settings_rules import broken_rules  # which needs this module's types

    source = os.environ if environ is None else environ
    values, unusable = _typed(source)
    problems = [*unusable.values(), *_missing(role, source)]
    settings = Settings(**values)
    problems += broken_rules(settings, role, apart_from=frozenset(unusable))
    if problems:
        raise InvalidConfiguration(problems)
    return settings


def _missing(role: Role, source: Mapping[str, str]) -> list[str]:
    if role in _EITHER_SET and not names_servers(source):
        return []
    return [
        f"{name.upper()} is not set, and `pipeline {role}` cannot run without it."
        if role is not Role.OPERATOR
        else f"{name.upper()} is not set, although another server of the production set is named."
        for name in REQUIRED[role]
        if not source.get(name.upper(), "").strip()
    ]


def _typed(source: Mapping[str, str]) -> tuple[dict[str, Any], dict[str, str]]:
    """Each variable that is set, converted; by name, a sentence for each that cannot be."""
    hints = get_type_hints(Settings, include_extras=True)
    values: dict[str, Any] = {}
    problems: dict[str, str] = {}
    for name in Settings.__struct_fields__:
        text = source.get(name.upper(), "").strip()
        if not text:
            continue
        try:
            values[name] = _convert(text, hints[name])
        except ValueError:
            # Without the value, which may be a secret in the wrong place.
            problems[name] = f"{name.upper()} must be {_described(hints[name])}."
    return values, problems


def _convert(text: str, kind: Any) -> Any:
    """Raises ValueError."""
    if kind is Path:
        return Path(text)
    if _is_choice(kind):
        return kind(text.lower())
    value: Any = msgspec.convert(text, kind, strict=False)
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError
    return value


def _described(kind: Any) -> str:
    if _is_choice(kind):
        *others, last = kind
        return f"{', '.join(others)} or {last}"
    return str(kind.__metadata__[0].description)


def _is_choice(kind: object) -> bool:
    return isinstance(kind, type) and issubclass(kind, StrEnum)
