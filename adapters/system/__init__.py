"""The real clock, identifiers, chance and scratch space; nothing else knows them."""

from adapters.system.clock import utc_now
from adapters.system.ids import SystemIds, random_bytes
from adapters.system.scratch import TempScratch

__all__ = ["SystemIds", "TempScratch", "random_bytes", "utc_now"]
