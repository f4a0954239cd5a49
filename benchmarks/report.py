"""Results as JSON, and as the measured part of docs/benchmarks.md."""

import json
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.process import ROOT

PAGE = ROOT / "docs" / "benchmarks.md"
BEGIN, END = "<!-- measured: written by make bench -->", "<!-- end of what was measured -->"
MEBIBYTE = 1 << 20
Row = list[str]


def save(results: dict[str, Any], file: Path) -> None:
    """Write both; the rest of the page stays as it is."""
    file.write_text(json.dumps(rounded(results), indent=1) + "\n")
    page = PAGE.read_text() if PAGE.exists() else f"# Benchmarks\n\n{BEGIN}\n{END}\n"
    before, _, rest = page.partition(BEGIN)
    after = rest.partition(END)[2]
    PAGE.write_text(f"{before}{BEGIN}\n\n{render(rounded(results))}\n{END}{after}")


def rounded(value: Any) -> Any:
    """Four digits are more than the machine repeats."""
    if isinstance(value, dict):
        return {name: rounded(one) for name, one in value.items()}  # pyright: ignore[reportUnknownVariableType] - plain JSON
    if isinstance(value, list):
        return [rounded(one) for one in value]  # pyright: ignore[reportUnknownVariableType] - plain JSON
    return float(f"{value:.4g}") if isinstance(value, float) else value


def render(results: dict[str, Any]) -> str:
    sections = {
        "throughput": _throughput,
        "overhead": _overhead,
        "latency": _latency,
        "api": _api,
        "telemetry": _telemetry,
        "growth": _growth,
        "scale": _scale,
        "memory": _memory,
    }
    parts = [_machine(results)]
    parts += [make(results[name]) for name, make in sections.items() if name in results]
    return "\n".join(parts)


def _machine(results: dict[str, Any]) -> str:
    versions = ", ".join(f"{name} {value}" for name, value in results["machine"].items())
    given = results["photos"]
    kind = "real photos" if given["real"] else "pictures drawn in code"
    return (
        f"Machine and versions: {versions}.\n\nInput: {given['files']} {kind}, "
        f"{given['megapixels']:.1f} MP on average, {given['count']} uploads a row.\n"
    )


def _throughput(rows: list[dict[str, Any]]) -> str:
    table = [
        [
            row["who"],
            row["form"],
            f"{row['photos_per_second']:.2f}",
            f"{row['cpu_seconds']:.3f}",
            _ratio(row, rows),
            f"{row['servers_cpu_seconds']:.3f}",
            f"{row['others']:.1f}",
        ]
        for row in rows
    ]
    head = ["who", "out", "photos/s", "CPU s a photo", "of Celery's", "servers' CPU s", "others"]
    stages = [
        [row["who"], row["form"], *(f"{row['stage_ms'].get(s, 0):.0f}" for s in _STAGES)]
        for row in rows
        if "stage_ms" in row
    ]
    return (
        f"## Throughput\n\n{_table(head, table)}\nMilliseconds of each stage, by the clock:\n\n"
        f"{_table(['who', 'out', *_STAGES], stages)}"
    )


_STAGES = ("download", "start", "header", "decode", "resize", "encode", "upload", "commit")


def _ratio(row: dict[str, Any], rows: list[dict[str, Any]]) -> str:
    """Our CPU over that of Celery with the same engine, measured in the same run."""
    name, _, engine = row["who"].partition(", ")
    if name == "Celery":
        return ""
    shown: list[str] = []
    for other in ("pillow", "vips") if engine == "vips" else ("pillow",):
        theirs = [
            r["cpu_seconds"]
            for r in rows
            if (r["who"], r["form"]) == (f"Celery, {other}", row["form"])
        ]
        shown += [f"{row['cpu_seconds'] / cpu:.2f} ({other})" for cpu in theirs]
    return ", ".join(shown)


def _overhead(found: dict[str, Any]) -> str:
    rows: list[Row] = []
    for name, title in (("protocol", "without the store"), ("with_store", "1 GET and 4 PUTs")):
        runs = found[name]["runs"]
        middle = {k: median(r["cpu_ms"][k] for r in runs) for k in runs[0]["cpu_ms"]}
        ours = [sum(r["cpu_ms"][k] for k in ("worker", "dispatcher")) for r in runs]
        rows.append(
            [
                title,
                f"{median(ours):.2f}",
                f"{min(ours):.2f} to {max(ours):.2f}",
                *(f"{middle[k]:.2f}" for k in ("worker", "dispatcher", *_SERVERS)),
                f"{median(r['jobs_per_second'] for r in runs):.0f}",
            ]
        )
    celery = 1000 * found["celery"]["cpu_seconds"]
    rows.append(["Celery, one row, no guarantees", f"{celery:.2f}", *[""] * 6, ""])
    rows[-1][-1] = f"{found['celery']['photos_per_second']:.0f}"
    head = ["job", "ours, CPU ms", "3 runs", "worker", "dispatcher", *_SERVERS, "jobs/s"]
    parts = sorted({p for n in ("protocol", "with_store") for p in found[n]["parts_ms"]})
    shares = [
        [part, *(f"{found[n]['parts_ms'].get(part, 0):.2f}" for n in ("protocol", "with_store"))]
        for part in parts
    ]
    return (
        f"## Overhead\n\n{_table(head, rows)}\nThe worker's milliseconds by part, sampled:\n\n"
        f"{_table(['part', 'without the store', 'with it'], shares)}"
    )


_SERVERS = ("postgres", "rabbitmq", "minio")


def _latency(found: dict[str, Any]) -> str:
    titles = {
        "bare": "the picture alone, in one process",
        "production": "production, one photo at a time",
        "embedded": "embedded, one photo at a time",
        "loaded": f"production, {found['per_second']:.1f} photos/s: 70 % of what it can do",
    }
    rows = [
        [title, *(f"{found[name][q]:.0f}" for q in ("p50", "p95", "p99"))]
        for name, title in titles.items()
    ]
    return (
        "## Latency\n\nFrom complete-upload sent to READY, ms; JPEG out, Pillow. The first three "
        f"in turn, photo by photo.\n\n{_table(['what', 'p50', 'p95', 'p99'], rows)}"
    )


def _api(found: dict[str, Any]) -> str:
    rows = [
        [
            name,
            f"{one['per_second']:.0f}",
            f"{one['cpu_ms']:.2f}",
            *(f"{one[q]:.1f}" for q in ("p50", "p99")),
        ]
        for name, one in found.items()
    ]
    head = ["call", "requests/s", "CPU ms", "p50 ms", "p99 ms"]
    return f"## API, one process\n\n{_table(head, rows)}"


def _telemetry(found: dict[str, list[dict[str, Any]]]) -> str:
    rows = [
        [
            job,
            row["telemetry"],
            f"{row['cpu_ms']:.2f}",
            _change(row, base, "cpu_ms"),
            f"{row['per_second']:.2f}" if "per_second" in row else "",
            _change(row, base, "per_second"),
            ", ".join(f"{ms:.1f}" for ms in row["runs_cpu_ms"]),
            f"{row['others']:.1f}",
        ]
        for job, (base, *more) in found.items()
        for row in (base, *more)
    ]
    head = ["job", "telemetry", "CPU ms", "", "a second", "", "CPU ms of each run", "others"]
    return f"## Telemetry\n\n{_table(head, rows)}"


def _change(row: dict[str, Any], base: dict[str, Any], key: str) -> str:
    return f"{100 * (row[key] / base[key] - 1):+.1f} %" if key in row and row is not base else ""


def _growth(found: dict[str, Any]) -> str:
    rows = [
        [
            f"{one['rows']:,}",
            f"{one['cpu_ms']['worker'] + one['cpu_ms']['dispatcher']:.2f}",
            f"{one['cpu_ms']['postgres']:.2f}",
            f"{one['p50']:.1f}",
        ]
        for one in found["rows"]
    ]
    backlog = found["backlog"]
    ours = backlog["cpu_ms"]["worker"] + backlog["cpu_ms"]["dispatcher"]
    plans = [
        [one["query"], ", ".join(one["indexes"]), f"{one['ms']:.2f}"]
        for one in found["rows"][-1]["plans"]
    ]
    return (
        "## Growth\n\n"
        f"{_table(['rows', 'CPU ms a job', 'PostgreSQL', 'outbox to READY, p50 ms'], rows)}\n"
        f"With {backlog['messages']:,} messages waiting: {ours:.2f} ms a job; the dispatcher had "
        f"relayed {backlog['relayed_per_second']:.0f} a second at "
        f"{backlog['relay_cpu_ms']['dispatcher']:.2f} ms each.\n\n"
        f"{_table(['query, at the largest table', 'indexes', 'ms'], plans)}"
    )


def _scale(rows: list[dict[str, Any]]) -> str:
    table = [
        [
            str(row["workers"]),
            f"{row['photos_per_second']:.2f}",
            f"{row['cpu_seconds']:.3f}",
            f"{row['others']:.1f}",
        ]
        for row in rows
    ]
    return (
        f"## Workers on one machine\n\n{_table(['workers', 'photos/s', 'CPU s', 'others'], table)}"
    )


def _memory(found: dict[str, Any]) -> str:
    rows = [
        [
            engine,
            f"{one['decoder_peak_bytes'] / MEBIBYTE:.0f}",
            f"{one['together_bytes'] / MEBIBYTE:.0f}",
        ]
        for engine, one in found.items()
    ]
    head = ["engine", "decoder at most, MiB", "worker, forkserver and decoder together, MiB"]
    return f"## Memory of one slot, 24 MP\n\n{_table(head, rows)}"


def _table(head: Row, rows: list[Row]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)
