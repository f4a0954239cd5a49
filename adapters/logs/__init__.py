"""Log lines for machines (JSON) and for people (colours), without repetition and secrets."""

from adapters.logs.setup import configure_logging

__all__ = ["configure_logging"]
