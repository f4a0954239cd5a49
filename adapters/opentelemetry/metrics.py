"""Creates the instruments of the table and records into them; labels are checked here, once."""

import itertools
from collections.abc import Callable, Iterable, Mapping

from opentelemetry.metrics import CallbackOptions, Meter, Observation

from adapters.opentelemetry.instruments import OTHER, TABLE, Instrument, Kind, Role

Labels = Mapping[str, str]
Values = Iterable[tuple[Labels, float]]
Record = Callable[[float, dict[str, str]], None]


class Metrics:
    """Records into the instruments. Recording never raises and costs some microseconds."""

    def __init__(self, meter: Meter, roles: Iterable[Role]) -> None:
        self._meter = meter
        self._roles = frozenset(roles)
        self._record: dict[Instrument, Record] = {}
        self._sources: dict[Instrument, Callable[[], Values]] = {}
        for instrument in TABLE:
            self._create(instrument)

    def add(self, counter: Instrument, amount: float = 1, /, **labels: str) -> None:
        """Count `amount` more. Label names are written with `_` for `.`."""
        self._record[counter](amount, _checked(counter, labels))

    def observe(self, instrument: Instrument, value: float, /, **labels: str) -> None:
        """Record a value of a histogram, or set a gauge."""
        self._record[instrument](value, _checked(instrument, labels))

    def watch(self, gauge: Instrument, source: Callable[[], Values]) -> None:
        """Ask `source` for (labels, value) pairs at each scrape; it must answer at once."""
        assert gauge.kind is Kind.OBSERVED, gauge.name
        self._sources[gauge] = source

    def watch_value(self, gauge: Instrument, source: Callable[[], float]) -> None:
        """`watch` for a gauge without labels."""
        self.watch(gauge, lambda: [({}, source())])

    def _create(self, row: Instrument) -> None:
        meter, unit, about = self._meter, row.unit, row.meaning
        if row.kind is Kind.OBSERVED:
            callback = self._callback(row)
            meter.create_observable_gauge(row.name, [callback], unit=unit, description=about)
        elif row.kind is Kind.GAUGE:
            self._record[row] = meter.create_gauge(row.name, unit=unit, description=about).set
        elif row.kind is Kind.HISTOGRAM:
            self._record[row] = meter.create_histogram(
                row.name,
                unit=unit,
                description=about,
                explicit_bucket_boundaries_advisory=list(row.buckets),
            ).record
        else:
            self._record[row] = meter.create_counter(row.name, unit=unit, description=about).add
            self._start_at_zero(row)

    def _start_at_zero(self, counter: Instrument) -> None:
        """A counter that appears with its first event shows no increase to Prometheus."""
        if not counter.where & self._roles:
            return
        columns = [
            [(name, value) for value in values]
            for name, values in counter.labels.items()
            if not isinstance(values, str)
        ]
        if len(columns) == len(counter.labels):
            for labels in itertools.product(*columns):
                self._record[counter](0, dict(labels))

    def _callback(self, gauge: Instrument) -> Callable[[CallbackOptions], list[Observation]]:
        def observe(_: CallbackOptions) -> list[Observation]:
            source = self._sources.get(gauge)
            return (
                [Observation(value, dict(labels)) for labels, value in source()] if source else []
            )

        return observe


def _checked(instrument: Instrument, labels: Labels) -> dict[str, str]:
    """The labels as the table names them; a value the table does not list becomes `other`."""
    checked: dict[str, str] = {}
    for name, values in instrument.labels.items():
        # Plain text: the SDK takes an enumeration's member for another label than its value.
        value = str(labels.get(name.replace(".", "_"), OTHER))
        checked[name] = value if isinstance(values, str) or value in values else OTHER
    return checked
