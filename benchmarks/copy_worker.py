"""A worker of the product, composed with an engine that only copies.

    --name NAME     how the worker calls itself in the attempts of photos
    --no-store      no bytes move and no files are made: what remains is the protocol alone
    --sample FILE   write where the processor time went, by part of the protocol, at the end
    --profile FILE  write the profile of the standard library's cProfile at the end

Everything else is as in `pipeline worker`: settings from the environment, telemetry, log lines,
operations pages, the same adapters behind the same ports.
"""

import argparse
import asyncio
import cProfile
import signal
from contextlib import ExitStack
from pathlib import Path

import uvloop

from adapters.logs import configure_logging
from adapters.opentelemetry import (
    MessageTelemetry,
    ObservedEngine,
    ObservedStore,
    Role,
    Telemetry,
    current_trace_id,
)
from adapters.system import TempScratch
from application.make_variants import MakeVariants
from application.process_media import Lease, ProcessMedia
from benchmarks.engine import CopyEngine, NoEngine, NoStore
from benchmarks.sampling import sampled
from entrypoints.api.operations import create_operations_app
from entrypoints.bootstrap import VERSION, AdapterSet, production_set, secrets_of
from entrypoints.serving import listen, serve
from entrypoints.settings import Role as Process
from entrypoints.settings import Settings, load
from entrypoints.worker import Worker, WorkerLimits


async def run(options: argparse.Namespace, settings: Settings) -> None:
    bound = listen(settings.api_host, settings.worker_metrics_port, "WORKER_METRICS_PORT")
    configure_logging(
        service="worker",
        json=True,
        level=settings.log_level,
        secrets=secrets_of(settings),
        trace_id=current_trace_id,
    )
    endpoint = settings.otel_exporter_otlp_endpoint or None
    telemetry = Telemetry.start("copy-worker", VERSION, roles={Role.WORKER}, otlp_endpoint=endpoint)
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with production_set(settings, telemetry) as adapters:
        pages = create_operations_app(
            dependencies=tuple(adapters.dependencies), metrics=telemetry.render_metrics
        )
        worker = _worker(settings, telemetry, adapters, options)
        await asyncio.gather(worker.run(stop), serve(pages, bound, stop, settings.grace_seconds))


def _worker(
    settings: Settings, telemetry: Telemetry, adapters: AdapterSet, options: argparse.Namespace
) -> Worker:
    """As `bootstrap.make_worker` has it, but for the engine."""
    metrics, tracing = telemetry.metrics, telemetry.tracing
    store, engine = adapters.store, CopyEngine()
    if options.no_store:
        store = ObservedStore(NoStore(), metrics, tracing)
        engine = NoEngine(Path(settings.scratch_dir) / "variant")
    make_variants = MakeVariants(
        store=store,
        engine=ObservedEngine(engine, metrics, tracing),
        scratch=TempScratch(Path(settings.scratch_dir)),
        recipe=settings.image_recipe(),
        max_bytes=settings.max_upload_bytes,
    )
    process = ProcessMedia(
        database=adapters.database,
        store=store,
        make_variants=make_variants,
        ids=adapters.ids,
        policy=settings.retry_policy(),
        lease=Lease(
            worker_id=options.name or adapters.ids.worker_id(), seconds=settings.lease_seconds
        ),
        on_defect=lambda media_id, error: print(media_id, repr(error)),  # noqa: T201 - to the log
    )
    return Worker(
        broker=adapters.broker,
        overview=adapters.overview,
        process=process,
        ids=adapters.ids,
        limits=WorkerLimits(
            concurrency=settings.worker_concurrency, grace_seconds=settings.grace_seconds
        ),
        observer=MessageTelemetry(metrics, tracing, system=adapters.messaging_system),
    )


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--name")
    parser.add_argument("--no-store", action="store_true")
    parser.add_argument("--sample", type=Path)
    parser.add_argument("--profile", type=Path)
    options = parser.parse_args()
    profile = cProfile.Profile()
    with ExitStack() as stack:
        if options.sample:
            stack.enter_context(sampled(options.sample))
        if options.profile:
            stack.callback(lambda: profile.dump_stats(options.profile))
            stack.enter_context(profile)
        uvloop.run(run(options, load(Process.WORKER)))


if __name__ == "__main__":
    main()
