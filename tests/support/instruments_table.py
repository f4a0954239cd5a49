"""The table of instruments for docs/telemetry.md; `python -m tests.support.instruments_table`."""

from adapters.opentelemetry.instruments import TABLE, Instrument

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
    return ", ".join(f"`{value}`" for value in values) if len(values) <= 10 else "failure codes"


if __name__ == "__main__":
    print(markdown())
