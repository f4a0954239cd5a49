"""What must hold between settings, beyond the type of each. One full sentence for each problem.

No sentence repeats a value: it may be a secret, put into the wrong variable.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

from application.process_media import RENEWALS_PER_LEASE
from domain.errors import InvalidConfiguration
from entrypoints.settings import PHOTOS_PER_CONNECTION, Engine, Role, Settings

LINK_SECONDS_MAX = 7 * 24 * 3600  # of a signed S3 link
PUT_BYTES_MAX = 5 * 1024**3  # of one S3 PUT
HELD_SECONDS_MAX = 600.0  # RabbitMQ takes a message back after 30 minutes
BYTES_PER_PIXEL = 8  # decoded, and once more while it is turned or converted
_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_EVERY_ROLE = frozenset(Role)
_DECODES = frozenset({Role.WORKER, Role.EMBEDDED, Role.DOCTOR})


@dataclass(frozen=True, slots=True)
class Rule:
    """`sentence` is the problem when `broken`. `names` are the settings it looks at."""

    names: frozenset[str]
    broken: Callable[[Settings], bool]
    sentence: str
    roles: frozenset[Role] = _EVERY_ROLE


def broken_rules(settings: Settings, role: Role, *, apart_from: frozenset[str]) -> list[str]:
    """A sentence for each rule that is broken. Settings in `apart_from` have no usable value."""
    relations = [
        rule.sentence
        for rule in _RULES
        if role in rule.roles and not rule.names & apart_from and rule.broken(settings)
    ]
    return [*_url_problems(settings), *relations, *_recipe_problems(settings)]


def _rule(
    names: str,
    broken: Callable[[Settings], bool],
    sentence: str,
    roles: frozenset[Role] = _EVERY_ROLE,
) -> Rule:
    return Rule(frozenset(names.split()), broken, sentence, roles)


_RULES = (
    _rule(
        "lease_seconds",
        lambda s: s.lease_seconds < RENEWALS_PER_LEASE,
        "LEASE_SECONDS must be at least 3, so that its three renewals are a second apart.",
    ),
    _rule(
        "requeue_seconds lease_seconds",
        lambda s: s.requeue_seconds < s.lease_seconds,
        "REQUEUE_SECONDS must not be smaller than LEASE_SECONDS, or a photo is sent again before "
        "its worker can have lost it.",
    ),
    _rule(
        "retry_cap_seconds retry_base_seconds",
        lambda s: s.retry_cap_seconds < s.retry_base_seconds,
        "RETRY_CAP_SECONDS must not be smaller than RETRY_BASE_SECONDS.",
    ),
    _rule(
        "grace_seconds",
        lambda s: s.grace_seconds > HELD_SECONDS_MAX,
        "GRACE_SECONDS must be at most 600: what is not finished by then is given back unharmed.",
    ),
    _rule(
        "decode_timeout_seconds",
        lambda s: s.decode_timeout_seconds > HELD_SECONDS_MAX,
        "DECODE_TIMEOUT_SECONDS must be at most 600, because RabbitMQ takes a message back that a "
        "worker holds for half an hour.",
    ),
    _rule(
        "database_pool_size worker_concurrency",
        lambda s: s.database_pool_size * PHOTOS_PER_CONNECTION < s.worker_concurrency,
        "DATABASE_POOL_SIZE must be at least a quarter of WORKER_CONCURRENCY, or leases run out "
        "while their renewal waits for a connection.",
        frozenset({Role.WORKER, Role.DOCTOR}),
    ),
    _rule(
        "worker_memory_bytes max_pixels",
        lambda s: s.worker_memory_bytes < s.max_pixels * BYTES_PER_PIXEL,
        "WORKER_MEMORY_BYTES must be at least 8 times MAX_PIXELS, which is what the largest photo "
        "takes while it is decoded.",
        _DECODES,
    ),
    _rule(
        "image_engine",
        lambda s: s.image_engine is Engine.VIPS and find_spec("pyvips") is None,
        "IMAGE_ENGINE is vips, and pyvips is not installed: `pip install 'image-pipeline[vips]'`.",
        _DECODES,
    ),
    _rule(
        "api_port worker_metrics_port",
        lambda s: s.api_port == s.worker_metrics_port != 0,
        "API_PORT and WORKER_METRICS_PORT must differ, because one process serves both.",
        frozenset({Role.EMBEDDED}),
    ),
    _rule(
        "upload_link_seconds",
        lambda s: s.upload_link_seconds > LINK_SECONDS_MAX,
        "UPLOAD_LINK_SECONDS must be at most 604800 (7 days): no store signs for longer.",
    ),
    _rule(
        "download_link_seconds",
        lambda s: s.download_link_seconds > LINK_SECONDS_MAX,
        "DOWNLOAD_LINK_SECONDS must be at most 604800 (7 days): no store signs for longer.",
    ),
    _rule(
        "max_upload_bytes",
        lambda s: s.max_upload_bytes > PUT_BYTES_MAX,
        "MAX_UPLOAD_BYTES must be at most 5368709120 (5 GiB): no store takes more in one PUT.",
    ),
    _rule(
        "minio_bucket",
        lambda s: not _BUCKET.fullmatch(s.minio_bucket) or ".." in s.minio_bucket,
        "MINIO_BUCKET must be 3 to 63 lower-case letters, digits, dots or hyphens.",
    ),
    _rule(
        "data_dir",
        lambda s: s.data_dir.exists() and not s.data_dir.is_dir(),
        "DATA_DIR must name a folder, and there is a file of that name.",
    ),
    _rule(
        "scratch_dir",
        lambda s: s.scratch_dir != "" and Path(s.scratch_dir).is_file(),
        "SCRATCH_DIR must name a folder, and there is a file of that name.",
    ),
)


def _url_problems(settings: Settings) -> Iterator[str]:
    for name, shape, holds in _URLS:
        url: str = getattr(settings, name)
        if url and not _parses(url, holds):
            yield (
                f"{name.upper()} must be a URL of the form {shape}; characters such as @ / : # % "
                "in a name or password are written as %40 %2F %3A %23 %25."
                if "@" in shape
                else f"{name.upper()} must be a URL of the form {shape}."
            )
    for origin in settings.allowed_origins:
        if origin != "*" and not _parses(origin, _is_origin):
            yield (
                "CORS_ORIGINS must be *, none or origins such as https://www.example.com, "
                "separated by commas and without a path."
            )
            return


def _parses(url: str, holds: Callable[[SplitResult], bool]) -> bool:
    try:
        parts = urlsplit(url)
        return (parts.port is None or parts.port > 0) and holds(parts)
    except ValueError:  # its text quotes the URL, password and all
        return False


def _is_database(parts: SplitResult) -> bool:
    host = parts.hostname or "host=" in parts.query
    return parts.scheme in ("postgresql", "postgres") and bool(host)


def _is_broker(parts: SplitResult) -> bool:
    return parts.scheme in ("amqp", "amqps") and bool(parts.hostname)


def _is_web(parts: SplitResult) -> bool:
    return parts.scheme in ("http", "https") and bool(parts.hostname)


def _is_origin(parts: SplitResult) -> bool:
    extra = parts.path.strip("/") or parts.query or parts.fragment or "@" in parts.netloc
    return _is_web(parts) and not extra


_URLS: tuple[tuple[str, str, Callable[[SplitResult], bool]], ...] = (
    ("database_url", "postgresql://user:password@host:5432/name", _is_database),
    ("rabbitmq_url", "amqp://user:password@host:5672/", _is_broker),
    ("minio_endpoint", "http://host:9000, without path or password", _is_origin),
    ("minio_public_endpoint", "http://host:9000, without path or password", _is_origin),
    ("public_url", "http://host:8080", _is_web),
    ("otel_exporter_otlp_endpoint", "http://host:4318", _is_web),
)


def _recipe_problems(settings: Settings) -> Iterator[str]:
    try:
        settings.image_recipe()
    except InvalidConfiguration as error:
        yield from (f"RECIPE: {sentence}" for sentence in error.problems)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        yield f"RECIPE is neither a readable TOML file nor TOML text: {reason}."
