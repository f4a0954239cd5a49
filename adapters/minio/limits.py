"""How long and how much the store adapter puts up with."""

from dataclasses import dataclass, field

from adapters.breaker import Patience

MEBIBYTE = 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Time limits and pool size. A store that is silent or slower than this is unavailable."""

    connect_timeout_seconds: float = 2.0
    read_timeout_seconds: float = 3.0  # silence, not the whole transfer
    check_timeout_seconds: float = 2.0  # the whole of a readiness check
    bytes_per_second_min: int = MEBIBYTE // 4
    connections: int = 32
    keepalive_seconds: float = 15.0  # below the 30 s after which MinIO closes an idle connection
    patience: Patience = field(default_factory=Patience)

    def deadline_seconds(self, size: int) -> float:
        """The most a whole exchange may take that moves `size` bytes."""
        silence = self.connect_timeout_seconds + self.read_timeout_seconds
        return silence + size / self.bytes_per_second_min
