"""`ImageEngine` with libvips, in the sandbox. Needs the extra `vips`."""

from adapters.sandbox.engine import SandboxedEngine
from adapters.sandbox.limits import EngineLimits

# Decoded pictures stay in memory, whatever their size: a child can't make temporary files.
_ENVIRONMENT = {"VIPS_DISC_THRESHOLD": "64g"}


class VipsEngine(SandboxedEngine):
    """Renders photos with libvips. `open` before use is optional, `close` at the end is not."""

    def __init__(self, limits: EngineLimits | None = None) -> None:
        super().__init__("adapters.vips.decoder", limits or EngineLimits(), _ENVIRONMENT)
