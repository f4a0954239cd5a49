"""Every limit on one photo and on all photos at once."""

import os
from dataclasses import dataclass, field

MIB = 1024 * 1024
GIB = 1024 * MIB


def available_cores() -> int:
    """The cores this process may run on, which a container may have narrowed."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineLimits:
    """What a photo may cost. Sizes in bytes, durations in seconds.

    `max_pixels` bounds width x height x frames. `wall_seconds` bounds the reading of the header
    and the decoding, each; waiting for memory in between is not counted. `address_space_bytes`
    holds for each child, `memory_budget_bytes` for what all children together say they need.
    `output_bytes` bounds one finished variant. `concurrency` is how many children live at once.
    """

    max_bytes: int = 50 * MIB
    max_pixels: int = 50_000_000
    max_frames: int = 1_000
    wall_seconds: float = 30.0
    cpu_seconds: int = 20
    address_space_bytes: int = 2 * GIB
    memory_budget_bytes: int = 2 * GIB
    output_bytes: int = 64 * MIB
    open_files: int = 32
    concurrency: int = field(default_factory=available_cores)
