"""The table of instruments for docs/telemetry.md; `python -m tests.support.instruments_table`."""

from adapters.opentelemetry.instruments import TABLE, Instrument
from domain.failure import FailureCode

_CODES = {code.value for code in FailureCode}
START, END = "<!-- instruments: start -->", "<!-- instruments: end -->"


def markdown() -> str:
    """The rows of `TABLE`, in its order."""
    head = "| metric | kind | labels | shown by | meaning |\n|---|---|---|---|---|\n"
    return head + "".join(f"{_row(instrument)}\n" for instrument in TABLE)


def _row(row: Instrument) -> str:
    labels = "; ".join(
        f"`{name.replace('.', '_')}`: {v if isinstance(v, str) else _values(v)}"
        for name, v in row.labels.items()
    )
    where = ", ".join(sorted(row.where))
    return f"| `{row.prometheus_name}` | {row.kind} | {labels} | {where} | {row.meaning} |"


def _values(values: tuple[str, ...]) -> str:
    """All of them, but for the many failure codes, which have a list of their own."""
    return "failure codes" if set(values) == _CODES else ", ".join(f"`{v}`" for v in values)


if __name__ == "__main__":
    print(markdown())
