"""Draw the trace of one photo: python -m tests.measure.trace_picture docs/trace.svg [--photo FILE]

It starts the servers, a Jaeger, an API, a dispatcher and a worker, sends a photo, asks Jaeger's
query API for the trace and draws it: one line a span, indented by parent, with its real time.
"""

import argparse
import asyncio
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

import pytest

from entrypoints.demo import draw_photo
from tests.e2e.sending import finished
from tests.measure.time_to_ready import DEFAULTS
from tests.support.servers import Jaeger
from tests.support.services import Services
from tests.support.systems import running
from tests.support.traces import Span, whole_trace

LINE, INDENT, NAMES, BARS, TIMES = 20, 14, 330, 520, 70
COLOURS = {
    "image-pipeline-api": "#4269d0",
    "image-pipeline-worker": "#3b8c3b",
}
WARM_UP = 3


@dataclass(frozen=True, slots=True)
class Bar:
    """One span: how deep it lies, when it began after the root, how long it took."""

    name: str
    service: str
    depth: int
    start_ms: float
    ms: float


def bars(spans: Sequence[Span]) -> Iterator[Bar]:
    """Parents before children, and these by time."""
    (root,) = (span for span in spans if span["parent"] is None)

    def below(span: Span, depth: int) -> Iterator[Bar]:
        yield Bar(
            _title(span),
            span["service"],
            depth,
            (span["startTime"] - root["startTime"]) / 1000,
            span["duration"] / 1000,
        )
        children = [child for child in spans if child["parent"] == span["spanID"]]
        for child in sorted(children, key=lambda child: child["startTime"]):
            yield from below(child, depth + 1)

    yield from below(root, 0)


def _title(span: Span) -> str:
    """An upload is told from the other by its variant, as the stages of a render are."""
    variant = span["tags"].get("variant.name", "")
    name: str = span["operationName"]
    return name if variant in name.split() else f"{name} {variant}".rstrip()


def drawn(trace_id: str, lines: Sequence[Bar]) -> str:
    """An SVG that can be read on a light and on a dark page."""
    total_ms = max(bar.start_ms + bar.ms for bar in lines)
    width, height = NAMES + BARS + TIMES, LINE * (len(lines) + 2)
    head = 'xmlns="http://www.w3.org/2000/svg" font-family="sans-serif" font-size="12"'
    parts = [
        f'<svg {head} viewBox="0 0 {width} {height}" width="{width}" height="{height}">',
        f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
        f'<text x="6" y="14" fill="#333">trace {trace_id}, {total_ms:.0f} ms</text>',
        *_legend(),
        *(part for row, bar in enumerate(lines, 1) for part in _row(row, bar, total_ms)),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _legend() -> Iterator[str]:
    for number, (service, colour) in enumerate(COLOURS.items()):
        x = NAMES + 20 + 130 * number
        yield f'<rect x="{x}" y="5" width="10" height="10" fill="{colour}"/>'
        name = service.removeprefix("image-pipeline-")
        yield f'<text x="{x + 14}" y="14" fill="#333">{name}</text>'


def _row(row: int, bar: Bar, total_ms: float) -> Iterator[str]:
    y = LINE * row + 6
    left = NAMES + BARS * bar.start_ms / total_ms
    wide = max(1.0, BARS * bar.ms / total_ms)
    if row % 2:
        yield f'<rect y="{y}" width="{NAMES + BARS + TIMES}" height="{LINE}" fill="#f3f3f3"/>'
    name = escape(bar.name)
    yield f'<text x="{6 + INDENT * bar.depth}" y="{y + 14}" fill="#111">{name}</text>'
    yield (
        f'<rect x="{left:.1f}" y="{y + 4}" width="{wide:.1f}" height="{LINE - 8}" '
        f'fill="{COLOURS[bar.service]}"/>'
    )
    yield (
        f'<text x="{NAMES + BARS + TIMES - 6}" y="{y + 14}" text-anchor="end" fill="#111">'
        f"{bar.ms:.1f} ms</text>"
    )


async def trace_of_a_photo(services: Services, folder: Path, photo: bytes) -> tuple[str, list[Bar]]:
    """The trace id and the spans of a photo, once the processes are warm."""
    jaeger = services.get(Jaeger)
    settings = {
        **DEFAULTS,
        "OTEL_EXPORTER_OTLP_ENDPOINT": jaeger.otlp_endpoint,
        "OTEL_BSP_SCHEDULE_DELAY": "200",
    }
    async with running("production", services, folder, settings=settings) as system:
        for _ in range(WARM_UP):
            await finished(system, photo)
        trace_id: str = (await finished(system, photo))["trace_id"]
        spans = await whole_trace(jaeger, trace_id, attempt=1)
    return trace_id, list(bars(spans))


def main() -> None:
    parser = argparse.ArgumentParser(description="Draw the trace of one photo.")
    parser.add_argument("picture", type=Path)
    parser.add_argument("--photo", type=Path, help="a JPEG; otherwise one of 2 MP is drawn")
    options = parser.parse_args()
    photo = options.photo.read_bytes() if options.photo else draw_photo()
    services = Services()
    try:
        with tempfile.TemporaryDirectory(prefix="image-pipeline-measure-") as folder:
            trace_id, lines = asyncio.run(trace_of_a_photo(services, Path(folder), photo))
    except pytest.skip.Exception as missing:
        sys.exit(str(missing))
    finally:
        services.close()
    for bar in lines:
        print(f"{'  ' * bar.depth + bar.name:<40} {bar.start_ms:8.1f} {bar.ms:8.1f} ms")
    options.picture.write_text(drawn(trace_id, lines))


if __name__ == "__main__":
    main()
