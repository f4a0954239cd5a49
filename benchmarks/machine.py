"""What was measured on what."""

import os
import platform
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

LIBRARIES = ("pillow", "pyvips", "asyncpg", "aio-pika", "aiohttp", "litestar", "uvicorn", "uvloop")
GIBIBYTE = 1 << 20  # in the KiB of /proc/meminfo


def describe() -> dict[str, str]:
    """Processor, memory, system, date and the versions that matter."""
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "processor": f"{os.cpu_count()} cores of {_first('/proc/cpuinfo', 'model name', ':')}",
        "memory": f"{int(_first('/proc/meminfo', 'MemTotal', ':').split()[0]) / GIBIBYTE:.0f} GiB",
        "system": _first("/etc/os-release", "PRETTY_NAME", "=").strip('"'),
        "kernel": platform.release().partition("-")[0],
        "python": platform.python_version(),
        **{name: version(name) for name in LIBRARIES},
    }


def _first(file: str, name: str, separator: str) -> str:
    for line in Path(file).read_text().splitlines():
        if line.startswith(name):
            return line.partition(separator)[2].strip()
    return "unknown"
