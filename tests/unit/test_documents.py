"""What the documents draw and count is what the code says."""

from pathlib import Path

from domain.lifecycle import MACHINE, TERMINAL, State

ROOT = Path(__file__).parents[2]


def test_the_state_diagram_is_drawn_from_the_machine() -> None:
    diagram = _mermaid()

    assert diagram in (ROOT / "ARCHITECTURE.md").read_text(), f"paste this:\n{diagram}"


def _mermaid() -> str:
    """The lifecycle as Mermaid draws it; one line for each arrow of the machine."""
    lines = ["stateDiagram-v2", "    [*] --> PENDING_UPLOAD"]
    for event in MACHINE.events.values():
        for transitions in event.transitions.values():
            lines += [f"    {one.source} --> {one.dest}: {event.name}" for one in transitions]
    reached = {line.split(" --> ")[1].split(":")[0] for line in lines[1:]}
    lines += [f"    {state} --> [*]" for state in State if state in TERMINAL & reached]
    return "\n".join(lines)
