"""`make bench`: python -m benchmarks [--quick] [--photos N] [--parts a,b] [--corpus FOLDER].

Writes benchmarks/results.json and the measured part of docs/benchmarks.md.
"""

import argparse
import asyncio
import json
import tempfile
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

from rich.console import Console

from benchmarks import api, growth, latency, overhead, peer, report, telemetry, throughput
from benchmarks.machine import describe
from benchmarks.photos import big_photo, megapixels, photos
from benchmarks.process import ROOT
from benchmarks.rig import Servers, servers
from entrypoints.settings import Engine

RESULTS = ROOT / "benchmarks" / "results.json"
FORMS = {"jpeg": "jpg", "webp": "webp"}
console = Console(highlight=False)


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How much of everything."""

    servers: Servers
    photos: list[Path]
    folder: Path
    count: int
    quick: bool
    engines: list[Engine]

    def jobs(self, full: int) -> int:
        return full // 10 if self.quick else full


async def _throughput(plan: Plan) -> Any:
    """Ours and the peers in turn, so that both meet the same machine."""
    rows: list[dict[str, Any]] = []
    for form, extension in FORMS.items():
        for engine in plan.engines:
            ours = await throughput.measure(
                plan.servers, plan.photos, plan.count, engine=engine, form=form
            )
            rows.append({"who": f"pipeline, {engine}", "form": form, **ours})
            say(rows[-1])
        for engine in Engine:
            theirs = await peer.measure(
                plan.servers, plan.photos, plan.count, engine=engine, extension=extension
            )
            rows.append({"who": f"Celery, {engine}", "form": form, **theirs})
            say(rows[-1])
    return rows


async def _scale(plan: Plan) -> Any:
    return [
        await throughput.measure(
            plan.servers,
            plan.photos,
            max(8, plan.count // 3),
            engine=Engine.PILLOW,
            form="jpeg",
            workers=workers,
        )
        for workers in (1, 2, 4)
    ]


async def _memory(plan: Plan) -> Any:
    photo = big_photo(plan.photos, plan.folder)
    return {
        engine: await throughput.memory(plan.servers, photo, engine=engine)
        for engine in plan.engines
    }


async def _overhead(plan: Plan) -> Any:
    found: dict[str, Any] = {}
    for name, with_store, jobs in (("protocol", False, 1500), ("with_store", True, 300)):
        runs = [
            await overhead.measure(
                plan.servers, plan.photos, plan.jobs(jobs), with_store=with_store
            )
            for _ in range(3)
        ]
        parts = await overhead.by_part(
            plan.servers, plan.photos, plan.jobs(jobs), with_store=with_store
        )
        found[name] = {"runs": runs, "parts_ms": parts["parts_ms"]}
        say(runs[-1])
    found["celery"] = await peer.measure(
        plan.servers, plan.photos, plan.jobs(1500), engine="none", extension="jpg"
    )
    return found


async def _latency(plan: Plan) -> Any:
    count = min(100, plan.count)
    calm = await latency.calm(plan.servers, plan.photos, count)
    full = await throughput.measure(
        plan.servers, plan.photos, max(12, count // 3), engine=Engine.PILLOW, form="jpeg"
    )
    rate = 0.7 * full["photos_per_second"]
    loaded = await latency.loaded(plan.servers, plan.photos, count, per_second=rate)
    return {**calm, "per_second": rate, "loaded": loaded}


async def _api(plan: Plan) -> Any:
    return await api.measure(plan.servers, plan.jobs(3000))


async def _telemetry(plan: Plan) -> Any:
    photos = min(24, plan.count)
    return await telemetry.measure(plan.servers, plan.photos, photos, plan.jobs(800))


async def _growth(plan: Plan) -> Any:
    rows = (100, 1000, 10_000) if plan.quick else (100, 10_000, 1_000_000)
    return {
        "rows": await growth.by_rows(plan.servers, rows, plan.jobs(1000)),
        "backlog": await growth.by_backlog(plan.servers, plan.jobs(100_000), plan.jobs(1000)),
    }


PARTS: dict[str, Callable[[Plan], Awaitable[Any]]] = {
    "overhead": _overhead,
    "throughput": _throughput,
    "scale": _scale,
    "memory": _memory,
    "latency": _latency,
    "api": _api,
    "telemetry": _telemetry,
    "growth": _growth,
}


def say(result: Any) -> None:
    """One line for each thing measured."""
    console.print(f"   {json.dumps(report.rounded(result))}", soft_wrap=True)


async def run(options: argparse.Namespace) -> None:
    with tempfile.TemporaryDirectory() as folder:
        given = photos(options.corpus, Path(folder))
        input_photos = {
            "files": len(given),
            "real": options.corpus is not None,
            "megapixels": sum(map(megapixels, given)) / len(given),
            "count": options.photos,
        }
        console.print(f"{len(given)} photos, {input_photos['megapixels']:.1f} MP on average")
        async with servers() as started:
            plan = Plan(
                servers=started,
                photos=given,
                folder=Path(folder),
                count=options.photos,
                quick=options.quick,
                engines=[Engine(name) for name in options.engines.split(",")],
            )
            for name in options.parts.split(","):
                console.print(f"[bold]{name}[/bold] …")
                began = perf_counter()
                result = await PARTS[name](plan)
                say(result)
                console.print(f"   {perf_counter() - began:.0f} s")
                if not options.quick:
                    _save({"machine": describe(), "photos": input_photos, name: result})


def _save(news: dict[str, Any]) -> None:
    """Parts that were not run keep what they had."""
    former: dict[str, Any] = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    report.save({**former, **news}, RESULTS)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a tenth of it; nothing is written")
    parser.add_argument("--photos", type=int, default=None, help="photos a row; 200")
    parser.add_argument("--parts", default=",".join(PARTS))
    parser.add_argument("--engines", default=",".join(Engine), help="of the pipeline")
    parser.add_argument("--corpus", type=Path, help="a folder of JPEGs; those of 8 to 12 MP count")
    options = parser.parse_args()
    options.photos = options.photos or (20 if options.quick else 200)
    asyncio.run(run(options))


if __name__ == "__main__":
    main()
