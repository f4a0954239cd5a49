"""Every query of the dashboard returns data from the Prometheus of a running pipeline."""

import json
import math
from collections.abc import AsyncGenerator, Generator
from pathlib import Path

import pytest

from tests.e2e.photos import draw
from tests.e2e.sending import finished
from tests.support.prometheus import Prometheus, targets_of
from tests.support.services import Services, unavailable
from tests.support.systems import System, running
from tests.support.waiting import eventually

pytestmark = pytest.mark.anyio

ROOT = Path(__file__).parents[2]
DASHBOARD = ROOT / "deploy" / "grafana" / "dashboards" / "pipeline.json"


@pytest.fixture
async def system(services: Services, tmp_path: Path) -> AsyncGenerator[System]:
    async with running("production", services, tmp_path) as opened:
        yield opened


@pytest.fixture
def prometheus(system: System) -> Generator[Prometheus]:
    if Prometheus.find() is None:
        unavailable(f"prometheus is missing: {Prometheus.how_to_get}")
    server = Prometheus(targets_of(system))
    try:
        server.start()
        yield server
    finally:
        server.close()


def queries() -> list[str]:
    panels = json.loads(DASHBOARD.read_text())["panels"]
    expressions = [target["expr"] for panel in panels for target in panel.get("targets", ())]
    return [expression.replace("$__rate_interval", "1m") for expression in expressions]


async def test_every_query_of_the_dashboard_returns_data(
    system: System, prometheus: Prometheus
) -> None:
    async def scrapes() -> float:
        found = prometheus.query("min(count_over_time(up[1m]))")
        return float(found[0]["value"][1]) if found else 0.0

    photo = draw(900)
    document = await finished(system, photo)
    assert document["status"] == "READY"
    await system.client().complete(document)
    assert (await finished(system, photo[:200]))["status"] == "FAILED"
    await eventually(scrapes, until=lambda count: count >= 2)
    assert (await finished(system, photo))["status"] == "READY"

    async def ready_is_seen() -> float:
        found = prometheus.query("increase(pipeline_time_to_ready_seconds_count[1m])")
        return float(found[0]["value"][1]) if found else 0.0

    await eventually(ready_is_seen, until=lambda count: count > 0)

    async def without_data() -> list[str]:
        return [query for query in queries() if not prometheus.query(query)]

    await eventually(without_data, until=lambda missing: missing == [])
    p95 = queries()[0]
    assert "time_to_ready" in p95
    assert 0 < float(prometheus.query(p95)[0]["value"][1]) < math.inf
    assert prometheus.query('ALERTS{alertname!="PhotosFail"}') == []
