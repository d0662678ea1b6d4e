"""Every measure, declared once: gate, explain, report, pytest and docs ask here for all they know of one.

A measure is written by its name (`bend`), which is its column unless two tables share it, or `TABLE.COLUMN`; an event
by `event.KIND`, the noise floor of a measure by `floor.MEASURE`. Signed measures are judged by their absolute value.

The entries stand in `harness/run/entries/`, one module a table. Adding a measure of line pairs or of time series: write
its function in a module of `harness/measures/` and one entry that names it in `compute`. Its column, its event, its
floor, its rule in policies, its findings and its place in the report follow from the entry.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from types import MappingProxyType

from harness.run.entries import events, lane, lines, outputs, path, presence, series
from harness.run.measure import Kind, Measure, Sizing, Statistic, Threshold
from harness.run.units import Quantity

__all__ = [
    "Measure",
    "Sizing",
    "Statistic",
    "Threshold",
    "columns_of",
    "computed",
    "definition_of",
    "event_kinds",
    "events_of",
    "find_measure",
    "floors",
    "kin_of",
    "label_of",
    "measures",
    "noise_of",
    "quantity_of",
    "registered",
    "step_measures",
]

_ENTRIES: dict[str, Measure] = {}
_ALL: dict[str, Measure] = {}
_BY_NAME: dict[str, Measure] = {}


def _derived(entry: Measure) -> Iterator[Measure]:
    """The measure, its event where it has a threshold, and its noise floor."""
    yield entry
    if entry.threshold is not None and entry.kind != "event":
        yield replace(
            entry, name=f"event.{entry.name}", table="events", column="value", kind="event", higher_is_worse=True,
            evidence=(entry.table, "rung" if entry.optional else entry.column), signed=False, best=0.0,
            family=entry.kin, compute="", group="", has_floor=False,
        )  # fmt: skip
    if entry.has_floor:
        yield replace(
            entry, name=f"floor.{entry.name}", table="floors", column="value", kind="floor", has_reference=False,
            signed=False, best=0.0, threshold=None, has_band=entry.has_band and bool(entry.compute)
            and entry.table == "line_metrics", compute="", group="", has_floor=False, noise="",
        )  # fmt: skip


def _add(entry: Measure) -> None:
    _ENTRIES[entry.name] = entry
    _ALL.update({m.name: m for m in _derived(entry)})
    _name_all()


def _name_all() -> None:
    """Every name by which a measure is found; the first that has one keeps it."""
    _BY_NAME.clear()
    for measure in _ALL.values():
        _BY_NAME.setdefault(measure.name, measure)
        if not measure.measured:
            _BY_NAME.setdefault(f"{measure.table}.{measure.column}", measure)


for _entry in (
    *lines.ENTRIES,
    *presence.ENTRIES,
    *series.ENTRIES,
    *lane.ENTRIES,
    *path.ENTRIES,
    *outputs.ENTRIES,
    *events.ENTRIES,
):
    _add(_entry)


@contextmanager
def registered(entry: Measure) -> Iterator[Measure]:
    """One measure more within a `with` block; its column exists in tables that are made there.

    Raises:
        ValueError: there is one of that name.
    """
    if entry.name in _ALL:
        raise ValueError(f"there is a measure {entry.name!r} already")
    _add(entry)
    try:
        yield entry
    finally:
        del _ENTRIES[entry.name]
        for derived in _derived(entry):
            del _ALL[derived.name]
        _name_all()


def measures() -> Mapping[str, Measure]:
    """Every measure, event and noise floor by name."""
    return MappingProxyType(_ALL)


def computed(table: str) -> tuple[Measure, ...]:
    """Measures of a table that their own functions compute, in the catalogue's order."""
    return tuple(m for m in _ENTRIES.values() if m.table == table and m.compute)


def columns_of(table: str) -> dict[str, Kind]:
    """Columns of a table that hold measures, with their kinds, in the catalogue's order."""
    return {m.column: m.kind for m in _ENTRIES.values() if m.table == table and m.kind not in ("event", "floor")}


def event_kinds() -> Mapping[str, Measure]:
    """Kind, as events.parquet names it -> its entry: all that is a finding without a policy."""
    return {m.measured: m for m in _ALL.values() if m.kind == "event"}


def events_of(table: str) -> tuple[Measure, ...]:
    """Measures of a table whose values are events where they pass a threshold, in the catalogue's order."""
    return tuple(m for m in _ENTRIES.values() if m.table == table and m.kind == "value" and m.threshold is not None)


def step_measures() -> tuple[Measure, ...]:
    """Measures of line pairs by which every single step is held against its parent too, at the same thresholds."""
    return tuple(m for m in events_of("line_metrics") if not m.optional)


def floors() -> tuple[Measure, ...]:
    """Measures of which a noise floor is measured, as `floor.MEASURE`."""
    return tuple(m for m in _ALL.values() if m.kind == "floor")


def find_measure(name: str) -> Measure:
    """The measure of that name; `TABLE.COLUMN` is understood for every column.

    Raises:
        ValueError: there is none, or two tables have it.
    """
    if name in _BY_NAME:
        return _BY_NAME[name]
    twins = [m.name for m in _ALL.values() if m.name.endswith(f".{name}") and not m.measured]
    if twins:
        raise ValueError(f"metric {name!r} is in several tables, write {' or '.join(twins)}")
    raise ValueError(f"unknown metric {name!r}, must be in {sorted(_ALL)}")


def _known(name: str) -> Measure | None:
    return _ALL.get(f"event.{name}") or _ALL.get(name)


def label_of(name: str) -> str:
    """A measure, or a kind of event, in words for readers."""
    found = _known(name)
    return found.label if found is not None and found.label else name.replace("_", " ")


def definition_of(name: str) -> str:
    """What a measure, or a kind of event, is; empty where there is no such thing."""
    found = _known(name)
    return found.definition if found is not None else ""


def kin_of(name: str) -> str:
    """Family of a measure, or of a kind of event, by name."""
    return (_known(name) or find_measure(name)).kin


def noise_of(name: str) -> str:
    """Measure whose noise floor a measure, or a kind of event, is held against; empty: none."""
    return (_known(name) or find_measure(name)).noise


def quantity_of(measure: Measure, statistic: Statistic) -> Quantity:
    """What a statistic of a measure measures: counting changes the unit."""
    counted: dict[Statistic, Quantity] = {
        "count": "count", "rate_per_min": "rate", "share": "share", "seconds": "duration", "episodes_per_h": "rate",
    }  # fmt: skip
    return counted.get(statistic, measure.quantity)
