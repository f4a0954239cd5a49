"""`ImageEngine` with Pillow, in the sandbox."""

from adapters.sandbox.engine import SandboxedEngine
from adapters.sandbox.limits import EngineLimits


class PillowEngine(SandboxedEngine):
    """Renders photos with Pillow. `open` before use is optional, `close` at the end is not."""

    def __init__(self, limits: EngineLimits | None = None) -> None:
        super().__init__("adapters.pillow.decoder", limits or EngineLimits())
