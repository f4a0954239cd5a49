"""Traces as Jaeger's query API tells them."""

import asyncio
import json
import urllib.error
import urllib.request
from typing import Any

from tests.support.servers import Jaeger
from tests.support.waiting import eventually

EXPORT_SECONDS = 30.0
Span = dict[str, Any]


def spans_of(jaeger: Jaeger, trace_id: str) -> list[Span]:
    """What has arrived of a trace: each span with its tags as a dict, its parent's id (or None)
    and its service.
    """
    try:
        with urllib.request.urlopen(f"{jaeger.query_url}/api/traces/{trace_id}") as answer:
            (trace,) = json.load(answer)["data"]
    except urllib.error.HTTPError as error:
        error.close()
        return []
    for span in trace["spans"]:
        parents = [r["spanID"] for r in span["references"] if r["refType"] == "CHILD_OF"]
        span["parent"] = parents[0] if parents else None
        span["tags"] = {tag["key"]: tag["value"] for tag in span["tags"]}
        span["service"] = trace["processes"][span["processID"]]["serviceName"]
    return trace["spans"]


async def whole_trace(jaeger: Jaeger, trace_id: str, *, attempt: int) -> list[Span]:
    """The spans of a trace, once those of the request and of this attempt have arrived."""

    async def ask() -> list[Span]:
        return await asyncio.to_thread(spans_of, jaeger, trace_id)

    def complete(spans: list[Span]) -> bool:
        whole = any(span["parent"] is None for span in spans)
        return whole and (attempt == 0 or bool(process_spans(spans, attempt)))

    return await eventually(ask, until=complete, seconds=EXPORT_SECONDS)


def process_spans(spans: list[Span], attempt: int) -> list[Span]:
    """Deliveries that led to this attempt; one that found nothing to do names none."""
    deliveries = [span for span in spans if span["operationName"] == "process media.process"]
    return [span for span in deliveries if span["tags"].get("media.attempt") == attempt]
