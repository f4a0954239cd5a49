"""Every query of the dashboard returns data from the Prometheus of a running pipeline."""

import asyncio
import io
import json
import math
import re
import urllib.request
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.support.prometheus import Embedded, Prometheus
from tests.support.waiting import eventually

pytestmark = pytest.mark.anyio

ROOT = Path(__file__).parents[2]
DASHBOARD = ROOT / "deploy" / "grafana" / "dashboards" / "pipeline.json"
# The embedded pipeline has no connection pool.
WITHOUT_DATA = re.compile(r"pipeline_pool_")


@pytest.fixture
def embedded() -> Generator[Embedded]:
    server = Embedded()
    try:
        server.start()
        yield server
        server.stop()
    finally:
        server.close()


@pytest.fixture
def prometheus(embedded: Embedded) -> Generator[Prometheus]:
    if Prometheus.find() is None:
        pytest.skip(f"prometheus is missing: {Prometheus.how_to_get}")
    server = Prometheus({"pipeline-worker": [f"127.0.0.1:{embedded.metrics_port}"]})
    try:
        server.start()
        yield server
    finally:
        server.close()


def call(method: str, url: str, body: bytes | None, headers: dict[str, str]) -> bytes:
    request = urllib.request.Request(url, data=body, method=method, headers=headers)
    with urllib.request.urlopen(request) as answer:
        return answer.read()


def post(url: str, document: dict[str, Any]) -> dict[str, Any]:
    body = json.dumps(document).encode()
    return json.loads(call("POST", url, body, {"Content-Type": "application/json"}))


async def process(url: str, photo: bytes) -> str:
    """Upload a photo, complete it twice, and wait for the end; its state."""
    ticket = post(f"{url}/upload-url", {"content_type": "image/jpeg", "file_name": "a.jpg"})
    call("PUT", ticket["upload_url"], photo, ticket["upload_headers"])
    done = {"media_id": ticket["media_id"], "original_key": ticket["original_key"]}
    post(f"{url}/complete-upload", done)
    post(f"{url}/complete-upload", done)

    async def state() -> str:
        document = await asyncio.to_thread(
            call, "GET", f"{url}/media/{ticket['media_id']}", None, {}
        )
        return json.loads(document)["status"]

    return await eventually(state, until=lambda state: state in {"READY", "FAILED"})


def photo() -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (64, 48), "teal").save(file, "JPEG")
    return file.getvalue()


def queries() -> list[str]:
    panels = json.loads(DASHBOARD.read_text())["panels"]
    expressions = [target["expr"] for panel in panels for target in panel.get("targets", ())]
    return [expression.replace("$__rate_interval", "1m") for expression in expressions]


async def test_every_query_of_the_dashboard_returns_data(
    embedded: Embedded, prometheus: Prometheus
) -> None:
    async def scrapes() -> float:
        found = prometheus.query("count_over_time(up[1m])")
        return float(found[0]["value"][1]) if found else 0.0

    assert await process(embedded.url, photo()) == "READY"
    assert await process(embedded.url, photo()[:200]) == "FAILED"
    await eventually(scrapes, until=lambda count: count >= 2)
    assert await process(embedded.url, photo()) == "READY"

    async def ready_is_seen() -> float:
        found = prometheus.query("increase(pipeline_time_to_ready_seconds_count[1m])")
        return float(found[0]["value"][1]) if found else 0.0

    await eventually(ready_is_seen, until=lambda count: count > 0)
    expected = [query for query in queries() if not WITHOUT_DATA.search(query)]
    assert [query for query in expected if not prometheus.query(query)] == []
    p95 = expected[0]
    assert "time_to_ready" in p95
    assert 0 < float(prometheus.query(p95)[0]["value"][1]) < math.inf
    firing = prometheus.query('ALERTS{alertname!~"NoDispatcher|PhotosFail"}')
    assert firing == []
