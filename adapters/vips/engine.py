"""`ImageEngine` with libvips, in the sandbox. Needs the extra `vips`."""

from adapters.sandbox.engine import SandboxedEngine
from adapters.sandbox.limits import EngineLimits


class VipsEngine(SandboxedEngine):
    """Renders photos with libvips. `open` before use is optional, `close` at the end is not."""

    def __init__(self, limits: EngineLimits | None = None) -> None:
        super().__init__("adapters.vips.decoder", limits or EngineLimits())
