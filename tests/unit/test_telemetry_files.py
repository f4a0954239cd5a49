"""Alerts, dashboard and documents say what the code says."""

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any, cast

import pytest

from adapters.opentelemetry.instruments import TABLE, Kind
from tests.support.instruments_table import END, START, markdown

ROOT = Path(__file__).parents[2]
PROMETHEUS = ROOT / "deploy" / "prometheus"
DASHBOARD = ROOT / "deploy" / "grafana" / "dashboards" / "pipeline.json"
_METRIC = re.compile(r"\b(?:pipeline|http_server|process)_[a-z_]+(?<!_)\b")
_RANGED = re.compile(r"(\w+)(?:\{[^}]*\})?\[")


def promtool(*arguments: str) -> subprocess.CompletedProcess[str]:
    program = shutil.which("promtool")
    if program is None:
        pytest.skip("promtool is not installed")
    command = [program, *arguments]
    return subprocess.run(command, cwd=PROMETHEUS, capture_output=True, text=True, check=False)


def known_metrics() -> dict[str, Kind]:
    """Every series of the metrics pages."""
    known: dict[str, Kind] = {}
    for row in TABLE:
        name = row.prometheus_name
        if row.kind is Kind.HISTOGRAM:
            known |= {f"{name}_{part}": row.kind for part in ("bucket", "sum", "count")}
        else:
            known[name] = row.kind
    known["process_cpu_seconds_total"] = Kind.COUNTER
    return known | dict.fromkeys(("process_resident_memory_bytes", "process_open_fds"), Kind.GAUGE)


def panels() -> list[dict[str, Any]]:
    everything = json.loads(DASHBOARD.read_text())["panels"]
    return [panel for panel in everything if panel["type"] != "row"]


def queries() -> list[str]:
    return [cast("str", target["expr"]) for panel in panels() for target in panel["targets"]]


def alerts() -> str:
    return (PROMETHEUS / "alerts.yml").read_text()


@pytest.mark.parametrize(
    "arguments",
    [
        ("check", "config", "prometheus.yml"),
        ("check", "rules", "--lint-fatal", "alerts.yml"),
        ("test", "rules", "alerts.test.yml"),
    ],
)
def test_promtool_accepts_configuration_rules_and_their_tests(arguments: tuple[str, ...]) -> None:
    run = promtool(*arguments)
    assert run.returncode == 0, run.stdout + run.stderr


def test_every_alert_is_tested_silent_and_ringing_and_has_its_runbook_section() -> None:
    names = re.findall(r"- alert: (\w+)", alerts())
    tests = (PROMETHEUS / "alerts.test.yml").read_text()
    runbook = (ROOT / "docs" / "runbook.md").read_text()
    assert len(names) >= 7
    assert set(re.findall(r"^## (\w+)$", runbook, re.MULTILINE)) == set(names)
    for name in names:
        assert f"runbook: docs/runbook.md#{name.lower()}" in alerts(), name
        assert f"alertname: {name}, exp_alerts: []" in tests, name
        assert f"alertname: {name}\n        exp_alerts:" in tests, name


def test_every_panel_that_the_runbook_sends_to_is_on_the_dashboard() -> None:
    runbook = " ".join((ROOT / "docs" / "runbook.md").read_text().split())
    named = set(re.findall(r"(?<!\*)\*([A-Z][^*]+)\*(?!\*)", runbook))
    assert len(named) >= 5
    assert named <= {panel["title"] for panel in panels()}


def test_alerts_and_dashboard_name_only_metrics_that_exist() -> None:
    known = known_metrics()
    for query in [*queries(), alerts()]:
        used = set(_METRIC.findall(query))
        assert used <= set(known), (used - set(known), query)


def test_only_counters_are_rated_and_every_counter_is() -> None:
    known = known_metrics()
    for query in queries():
        ranged = set(_RANGED.findall(query))
        for name in _METRIC.findall(query):
            assert (name in ranged) == (known[name] in {Kind.COUNTER, Kind.HISTOGRAM}), query


def test_the_dashboard_shows_every_instrument() -> None:
    text = "\n".join(queries())
    missing = [row.prometheus_name for row in TABLE if row.prometheus_name not in text]
    assert missing == []


def test_panels_fill_the_dashboard_without_overlap() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in panels():
        place = panel["gridPos"]
        columns = range(place["x"], place["x"] + place["w"])
        cells = {(x, y) for x in columns for y in range(place["y"], place["y"] + place["h"])}
        assert not cells & taken, panel["title"]
        assert max(columns) < 24, panel["title"]
        taken |= cells
    assert len({panel["id"] for panel in panels()}) == len(panels())


def test_the_documented_table_is_the_table() -> None:
    text = (ROOT / "docs" / "telemetry.md").read_text()
    documented = text.partition(START)[2].partition(END)[0].strip()
    assert documented == markdown().strip(), "run: python -m tests.support.instruments_table"
