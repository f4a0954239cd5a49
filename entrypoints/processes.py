"""The long-running processes: start, serve until a signal, stop in good order."""

import asyncio
import signal
import socket
from collections.abc import AsyncGenerator, Coroutine, Iterable
from contextlib import asynccontextmanager
from typing import Any

import msgspec

from adapters.events import get_logger
from adapters.logs import configure_logging
from adapters.opentelemetry import BacklogPoller, Telemetry, current_trace_id
from adapters.opentelemetry import Role as Exposes
from application.ports import Dependency
from entrypoints.api.app import create_app
from entrypoints.api.operations import create_operations_app
from entrypoints.bootstrap import (
    VERSION,
    AdapterSet,
    embedded_set,
    make_api,
    make_dispatcher,
    make_worker,
    production_set,
    secrets_of,
)
from entrypoints.serving import listen, serve
from entrypoints.settings import LogFormat, Settings

log = get_logger(__name__)


async def run_api(settings: Settings) -> None:
    """HTTP on API_PORT; never touches image bytes."""
    bound = listen(settings.api_host, settings.api_port, "API_PORT")
    async with _production(settings, "api", {Exposes.API}) as (telemetry, adapters):
        app = create_app(make_api(settings, telemetry, adapters))
        stop = _stop_on_signals()
        log.info("process_started", port=bound.getsockname()[1])
        await serve(app, bound, stop, settings.grace_seconds)


async def run_worker(settings: Settings) -> None:
    """Takes deliveries and processes photos; operations pages on WORKER_METRICS_PORT."""
    bound = listen(settings.api_host, settings.worker_metrics_port, "WORKER_METRICS_PORT")
    async with _production(settings, "worker", {Exposes.WORKER}) as (telemetry, adapters):
        worker_id = adapters.ids.worker_id()
        parts = make_worker(settings, telemetry, adapters, worker_id)
        notes = parts.engine.features.missing
        pages = _pages(telemetry, adapters.dependencies, notes)
        stop = _stop_on_signals()
        async with parts.opened() as worker:
            log.info("process_started", worker_id=worker_id, sandbox_missing=list(notes))
            await _together(
                stop, [worker.run(stop)], [serve(pages, bound, stop, settings.grace_seconds)]
            )


async def run_dispatcher(settings: Settings) -> None:
    """Relays the outbox and sweeps; operations pages on DISPATCHER_METRICS_PORT."""
    bound = listen(settings.api_host, settings.dispatcher_metrics_port, "DISPATCHER_METRICS_PORT")
    async with _production(settings, "dispatcher", {Exposes.DISPATCHER}) as (telemetry, adapters):
        poller = BacklogPoller(adapters.overview, telemetry.metrics)
        pages = _pages(telemetry, adapters.dependencies)
        stop = _stop_on_signals()
        log.info("process_started")
        dispatcher = make_dispatcher(settings, adapters)
        await _together(
            stop,
            [_until(stop, dispatcher.run()), _until(stop, poller.run())],
            [serve(pages, bound, stop, settings.grace_seconds)],
        )


async def run_embedded(settings: Settings, started: asyncio.Event | None = None) -> None:
    """All of it in one process, on SQLite and files; durable, no server needed."""
    bound = listen(settings.api_host, settings.api_port, "API_PORT")
    metrics = listen(settings.api_host, settings.worker_metrics_port, "WORKER_METRICS_PORT")
    settings = _with_real_port(settings, bound)
    async with (
        _telemetry(settings, "embedded", frozenset(Exposes)) as telemetry,
        embedded_set(settings, telemetry, settings.embedded_url) as adapters,
    ):
        worker_id = adapters.ids.worker_id()
        parts = make_worker(settings, telemetry, adapters, worker_id)
        api = create_app(make_api(settings, telemetry, adapters))
        notes = parts.engine.features.missing
        pages = _pages(telemetry, adapters.dependencies, notes)
        dispatcher = make_dispatcher(settings, adapters)
        poller = BacklogPoller(adapters.overview, telemetry.metrics)
        stop, grace = _stop_on_signals(), settings.grace_seconds
        async with parts.opened() as worker:
            log.info(
                "process_started",
                url=settings.embedded_url,
                worker_id=worker_id,
                metrics_port=metrics.getsockname()[1],
                data_dir=str(settings.data_dir),
                sandbox_missing=list(notes),
            )
            if started is not None:
                started.set()
            await _together(
                stop,
                [
                    worker.run(stop),
                    _until(stop, dispatcher.run()),
                    _until(stop, poller.run()),
                    serve(api, bound, stop, grace),
                ],
                [serve(pages, metrics, stop, grace)],
            )


# --- what they share -------------------------------------------------------------------------


@asynccontextmanager
async def _production(
    settings: Settings, process: str, roles: Iterable[Exposes]
) -> AsyncGenerator[tuple[Telemetry, AdapterSet]]:
    async with (
        _telemetry(settings, process, roles) as telemetry,
        production_set(settings, telemetry) as adapters,
    ):
        yield telemetry, adapters


@asynccontextmanager
async def _telemetry(
    settings: Settings, process: str, roles: Iterable[Exposes]
) -> AsyncGenerator[Telemetry]:
    """Logs, metrics and traces of this process; spans are flushed at the end."""
    as_json = None if settings.log_format is LogFormat.AUTO else settings.log_format.value == "json"
    configure_logging(
        service=process,
        json=as_json,
        level=settings.log_level,
        secrets=secrets_of(settings),
        trace_id=current_trace_id,
    )
    telemetry = Telemetry.start(
        f"image-pipeline-{process}",
        VERSION,
        roles=roles,
        otlp_endpoint=settings.otel_exporter_otlp_endpoint or None,
    )
    try:
        yield telemetry
    finally:
        flushed = await asyncio.to_thread(telemetry.shutdown)
        log.info("process_stopped", spans_flushed=flushed)


def _pages(
    telemetry: Telemetry, dependencies: Iterable[Dependency], notes: Iterable[str] = ()
) -> Any:
    return create_operations_app(
        dependencies=tuple(dependencies), metrics=telemetry.render_metrics, notes=tuple(notes)
    )


def _stop_on_signals() -> asyncio.Event:
    """Set by SIGTERM or SIGINT."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    return stop


async def _until(stop: asyncio.Event, work: Coroutine[Any, Any, None]) -> None:
    """Run `work` until it ends or `stop` is set."""
    working = asyncio.create_task(work)
    stopping = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait({working, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            working.result()
    finally:
        for task in (working, stopping):
            task.cancel()
        await asyncio.gather(working, stopping, return_exceptions=True)


async def _together(
    stop: asyncio.Event,
    work: list[Coroutine[Any, Any, None]],
    pages: list[Coroutine[Any, Any, None]],
) -> None:
    """Run all; when one ends, for whatever reason, the others stop too. Raises its failure."""
    tasks = [asyncio.create_task(one) for one in (*work, *pages)]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        stop.set()
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _with_real_port(settings: Settings, bound: socket.socket) -> Settings:
    """Port 0 is known only once it is bound."""
    return msgspec.structs.replace(settings, api_port=bound.getsockname()[1])
