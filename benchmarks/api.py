"""What one API process answers in a second, and what an answer costs it."""

import asyncio
from collections.abc import Awaitable, Callable
from time import perf_counter
from typing import Any

from benchmarks.cpu import seconds as cpu_seconds
from benchmarks.latency import quantiles
from benchmarks.rig import Servers, bench
from benchmarks.throughput import session
from entrypoints.client import Document, PipelineClient

CLIENTS = 8
TINY = b"\xff\xd8\xff\xd9"  # the API never reads it


async def measure(servers: Servers, count: int) -> dict[str, Any]:
    """`count` requests of each kind from CLIENTS connections that each wait for their answers."""
    async with bench(servers) as running, session() as http:
        api = await running.start("api", "api")
        client = PipelineClient(running.url, http)
        tickets: list[Document] = []

        async def request(_: int) -> None:
            ticket = await client.request_upload(content_type="image/jpeg", file_name="a.jpg")
            tickets.append(ticket)

        async def put(number: int) -> None:
            await client.put(tickets[number], TINY)

        async def complete(number: int) -> None:
            await client.complete(tickets[number])

        async def media(number: int) -> None:
            await client.media(tickets[number]["media_id"])

        await _all(request, 50)
        tickets.clear()
        result = {"upload-url": await _timed(request, count, api.pid)}
        await _all(put, count)
        result["complete-upload"] = await _timed(complete, count, api.pid)
        result["media"] = await _timed(media, count, api.pid)
        return result


async def _timed(call: Callable[[int], Awaitable[None]], count: int, api: int) -> dict[str, float]:
    began, used = perf_counter(), cpu_seconds([api])
    took = await _all(call, count)
    used, elapsed = cpu_seconds([api]) - used, perf_counter() - began
    return {"per_second": count / elapsed, "cpu_ms": 1000 * used / count, **quantiles(took)}


async def _all(call: Callable[[int], Awaitable[None]], count: int) -> list[float]:
    numbers, took = iter(range(count)), list[float]()

    async def some() -> None:
        for number in numbers:
            began = perf_counter()
            await call(number)
            took.append(perf_counter() - began)

    await asyncio.gather(*(some() for _ in range(CLIENTS)))
    return took
