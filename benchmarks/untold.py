"""A process of the product that tells nothing of itself, to see what the telling costs.

    python -m benchmarks.untold entrypoints.cli worker

There is no setting for that, since nobody should run so. The wrappers around ports and use cases
are replaced by what they wrap before anything is composed; with LOG_LEVEL=error no line is written
either. What stays is the metrics page, whose figures stand still.
"""

import asyncio
import runpy
import sys
from typing import Any

import adapters.opentelemetry as told
from adapters.opentelemetry import libraries

WRAPPERS = (
    *("ObservedDatabase", "ObservedStore", "ObservedEngine", "ObservedPublisher"),
    *("ObservedDependency", "ObservedCompleteUpload", "ObservedHTTP"),
)


class _NoPoller:
    def __init__(self, *_: Any, **__: Any) -> None:
        pass

    async def run(self) -> None:
        await asyncio.Event().wait()


def _inner(inner: Any, *_: Any, **__: Any) -> Any:
    return inner


def _unobserved(*_: Any, **__: Any) -> Any:
    from entrypoints.worker import Unobserved  # after everything is replaced

    return Unobserved()


def _nothing(*_: Any) -> None:
    pass


def take_out() -> None:
    """To be called before the composition root is imported, which takes these names over."""
    assert "entrypoints.bootstrap" not in sys.modules
    replacements = {
        **dict.fromkeys(WRAPPERS, _inner),
        "MessageTelemetry": _unobserved,
        "BacklogPoller": _NoPoller,
        "current_traceparent": lambda: None,
    }
    for name, replacement in replacements.items():
        assert hasattr(told, name), name
        setattr(told, name, replacement)
    libraries.instrument_libraries = _nothing


def main() -> None:
    take_out()
    del sys.argv[0]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
