"""A Prometheus that scrapes the processes of a test."""

import json
import urllib.parse
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.support.process import Server, answers_http, find_program
from tests.support.systems import System

ROOT = Path(__file__).parents[2]
RULES = ROOT / "deploy" / "prometheus" / "alerts.yml"


class Prometheus(Server):
    """`targets` maps a job to host and port of its metrics pages, scraped `every_seconds`."""

    name = "prometheus"
    how_to_get = "apt-get install prometheus"

    def __init__(self, targets: Mapping[str, Sequence[str]], *, every_seconds: int = 1) -> None:
        super().__init__()
        jobs = [
            {"job_name": job, "static_configs": [{"targets": list(addresses)}]}
            for job, addresses in targets.items()
        ]
        every = dict.fromkeys(("scrape_interval", "evaluation_interval"), f"{every_seconds}s")
        # JSON is YAML.
        config = {"global": every, "rule_files": [str(RULES)], "scrape_configs": jobs}
        (self.folder / "prometheus.yml").write_text(json.dumps(config))

    @staticmethod
    def find() -> Path | None:
        return find_program("prometheus")

    def command(self) -> list[str]:
        return [
            str(self.find()),
            f"--config.file={self.folder / 'prometheus.yml'}",
            f"--storage.tsdb.path={self.folder / 'data'}",
            f"--web.listen-address=127.0.0.1:{self.port}",
        ]

    def is_ready(self) -> bool:
        return answers_http(f"http://127.0.0.1:{self.port}/-/ready")

    def query(self, expression: str) -> list[dict[str, Any]]:
        """The series of an instant query; raises HTTPError if it is none."""
        query = urllib.parse.urlencode({"query": expression})
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/api/v1/query?{query}") as answer:
            return json.load(answer)["data"]["result"]


def targets_of(system: System) -> dict[str, list[str]]:
    """The pages of each role, under the names of the jobs in deploy/prometheus/prometheus.yml."""
    return {
        f"pipeline-{role}": [f"127.0.0.1:{process.port}" for process in system.of_role(role)]
        for role in ("api", "worker", "dispatcher")
    }
