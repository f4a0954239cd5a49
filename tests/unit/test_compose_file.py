"""docker-compose.yml and the settings name the same things; deploy/compose-test runs the file."""

import re
from pathlib import Path
from typing import Any, cast

import yaml

from entrypoints.settings import Engine, Settings

ROOT = Path(__file__).parents[2]
OURS = ("migrate", "api", "worker", "dispatcher")
# Inside a container these are what they are; the file maps ports and mounts disks instead.
FIXED_IN_A_CONTAINER = {
    "api_host",
    "api_port",
    "worker_metrics_port",
    "dispatcher_metrics_port",
    "data_dir",
    "public_url",
    "scratch_dir",
}
AFTER_THE_GRACE_SECONDS = 1.5 + 5.0  # giving photos back, sending the last spans


def compose() -> dict[str, Any]:
    """The file as it is read when nobody has set a variable."""
    return _filled(yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8")))


def _filled(node: Any) -> Any:
    if isinstance(node, dict):
        entries = cast("dict[Any, Any]", node)
        return {key: _filled(value) for key, value in entries.items()}
    if isinstance(node, list):
        return [_filled(value) for value in cast("list[Any]", node)]
    return re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", node) if isinstance(node, str) else node


def test_every_setting_can_be_set_for_the_containers() -> None:
    wanted = {
        name.upper() for name in Settings.__struct_fields__ if name not in FIXED_IN_A_CONTAINER
    }
    for name in OURS:
        assert wanted <= set(compose()["services"][name]["environment"]), name


def test_a_container_is_given_longer_to_stop_than_its_process_takes() -> None:
    for name in OURS:
        service = compose()["services"][name]
        patience = float(service["stop_grace_period"].removesuffix("s"))
        grace = float(service["environment"]["GRACE_SECONDS"])
        assert grace == Settings().grace_seconds
        assert patience > grace + AFTER_THE_GRACE_SECONDS


def test_no_two_containers_want_the_same_port_of_the_host() -> None:
    taken: list[int] = []
    for service in compose()["services"].values():
        for mapping in service.get("ports", []):
            _, host, _ = mapping.split(":")
            first, _, last = host.partition("-")
            taken += range(int(first), int(last or first) + 1)
    assert len(taken) == len(set(taken))


def test_every_port_is_open_to_this_machine_only() -> None:
    mappings = [m for s in compose()["services"].values() for m in s.get("ports", [])]
    assert mappings
    assert all(mapping.startswith("127.0.0.1:") for mapping in mappings)


def test_a_service_that_was_scaled_has_no_name_of_its_own() -> None:
    assert all("container_name" not in service for service in compose()["services"].values())


def test_the_containers_have_both_image_engines_and_take_the_faster_one() -> None:
    """Both pass every test of tests/images; docs/images.md says what each costs and refuses."""
    assert "-r vips.txt" in (ROOT / "Dockerfile").read_text(encoding="utf-8")
    locked = (ROOT / "requirements" / "vips.txt").read_text(encoding="utf-8")
    assert re.findall(r"^(pillow|pyvips)==", locked, re.MULTILINE) == ["pillow", "pyvips"]
    for name in OURS:
        assert compose()["services"][name]["environment"]["IMAGE_ENGINE"] == Engine.VIPS, name


def test_the_image_is_not_run_by_root() -> None:
    last_stage = (ROOT / "Dockerfile").read_text(encoding="utf-8").split("\nFROM ")[-1]
    assert re.search(r"^USER [1-9]\d*:[1-9]\d*$", last_stage, re.MULTILINE)
