"""Runs the checks and shows each finding as soon as it is there."""

from collections.abc import AsyncGenerator

from rich.text import Text

from domain.errors import PipelineError
from entrypoints.settings import Role, Settings, load, names_servers
from entrypoints.tools.doctor.broker import examine_broker
from entrypoints.tools.doctor.database import examine_database
from entrypoints.tools.doctor.embedded import examine_embedded
from entrypoints.tools.doctor.findings import Finding, Mark
from entrypoints.tools.doctor.machine import examine_machine
from entrypoints.tools.doctor.store import examine_minio
from entrypoints.tools.shared import log_to_stderr, print_json, terminal

_MARKS = {
    Mark.OK: ("✓", "green"),
    Mark.WARNING: ("!", "yellow"),
    Mark.FAILED: ("✗", "bold red"),
}


async def run_doctor(*, as_json: bool) -> None:
    """Raises InvalidConfiguration, or PipelineError if a check has failed."""
    settings = load(Role.DOCTOR)
    log_to_stderr(settings)
    production = names_servers()
    if not as_json:
        where = "the production set" if production else f"the embedded set in {settings.data_dir}"
        terminal().print(f"Trying {where}.", soft_wrap=True)
    found: list[Finding] = []
    async for finding in examine(settings, production=production):
        found.append(finding)
        if not as_json:
            terminal().print(_line(finding), soft_wrap=True)
    if as_json:
        print_json(found)
    count = sum(finding.mark is Mark.FAILED for finding in found)
    if count:
        raise PipelineError(f"{count} of {len(found)} checks failed")


async def examine(settings: Settings, *, production: bool) -> AsyncGenerator[Finding]:
    """Every check that makes sense for the set."""
    servers = (examine_database, examine_broker, examine_minio)
    for check in (*(servers if production else (examine_embedded,)), examine_machine):
        async for finding in check(settings):
            yield finding


def _line(finding: Finding) -> Text:
    mark, style = _MARKS[finding.mark]
    line = Text.assemble((mark, style), f" {finding.check:<14}", finding.sentence)
    if finding.remedy:
        line.append(f" {finding.remedy}", style="bold")
    return line
