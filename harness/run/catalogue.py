"""Every measure, declared once: gate, explain, report, pytest and docs ask here for all they know of one.

A measure is written by its name (`bend`), which is its column unless two tables share it, or `TABLE.COLUMN`; an event
by `event.KIND`, the noise floor of a measure by `floor.MEASURE`. Signed measures are judged by their absolute value.

Adding a measure of line pairs or of time series: write its function in a module of `harness/measures/` and one entry
below that names it in `compute`. Its column, its event, its floor, its rule in policies, its findings and its place in
the report follow from the entry.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from types import MappingProxyType
from typing import Any

from harness.run.measure import Group, Kind, Measure, Sizing, Statistic, Threshold
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
    "quantity_of",
    "registered",
    "step_measures",
]

_SHAPE: Group = "Shape of the line"
_TIME: Group = "Over time"
_PRESENCE: Group = "Presence"
_COST: Group = "Tensors, truth, speed"


def _line(name: str, quantity: Quantity, label: str, definition: str, function: str = "", **more: Any) -> Measure:
    compute = f"harness.measures.{function}" if function else ""
    settings: dict[str, Any] = {"has_band": True, "has_floor": True, "noise": name, "compute": compute} | more
    return Measure(name, "line_metrics", name, quantity, label, definition, **settings)


def _series(name: str, quantity: Quantity, label: str, definition: str, function: str = "", **more: Any) -> Measure:
    compute = f"harness.measures.{function}" if function else ""
    settings: dict[str, Any] = {"group": _TIME, "has_band": True, "sizing": "case", "noise": name, "compute": compute}
    return Measure(name, "series_metrics", name, quantity, label, definition, **settings | more)


def _tensor(name: str, quantity: Quantity, label: str, definition: str, **more: Any) -> Measure:
    return Measure(name, "tensor_metrics", name, quantity, label, definition, **{"noise": name} | more)


_NONFINITE = "NaN or infinite numbers in the outputs of one frame."

# The finding thresholds of shape are those at which a lane-keeping function would notice: docs/DESIGN.md section 4.
_MEASURES = (
    _line(
        "offset_mean", "length", "mean offset",
        "Mean lateral distance of the candidate's line from the reference's in one band, left positive.",
        "offset:offset_mean_of", signed=True, family="offset",
        threshold=Threshold((0.10, 0.10, 0.20), (0.5, 0.5, 0.5), "w"),
    ),
    _line(
        "offset_max", "length", "offset",
        "Largest lateral distance of the candidate's line from the reference's along one band.",
        "offset:offset_max_of", signed=True, family="offset", group=_SHAPE,
        threshold=Threshold((0.15, 0.15, 0.30), (0.75, 0.75, 0.75), "w"),
    ),
    _line(
        "heading", "angle", "heading",
        "Slope of the lateral offset along the band: how far the line is turned as a whole.",
        "offset:heading_of", signed=True, group=_SHAPE,
    ),
    _line(
        "bend", "length", "bend",
        "Largest distance of the lateral offset from any of its own chords within one band: a shifted or turned line "
        "has bend 0, a bow of 0.2 m reads 0.2 m.",
        "bend:bend_of", group=_SHAPE, threshold=Threshold((0.15, 0.15, 0.30), (0.5, 0.5, 0.5), "h"),
    ),
    _line(
        "bend_rms", "length", "RMS bend", "RMS of the lateral offset about its straight line within one band.",
        "bend:bend_rms_of", family="bend",
    ),
    _line(
        "kink", "angle", "kink",
        "Largest change of direction of the offset over a fixed length: a corner in the line.",
        "kink:kink_of", group=_SHAPE, threshold=Threshold.same(0.05235987755982989),  # 3 degrees
    ),
    _line(
        "curvature_gap", "curvature", "curvature gap",
        "Difference of curvature between the candidate's line and the reference's.",
        "curvature:curvature_gap_of", signed=True, group=_SHAPE,
    ),
    _line(
        "chamfer", "length", "outline distance",
        "Distance between two outlines, for closed lines and lines across the road.",
        has_band=False, family="offset", optional=True, threshold=Threshold((0.15,) * 3, (0.75,) * 3, "w"),
    ),
    _line(
        "reach_gap", "length", "reach",
        "How much farther the candidate's line reaches than the reference's, along the road; negative: it ends sooner.",
        has_band=False, has_floor=False, signed=True, group=_PRESENCE, noise="", optional=True,
        threshold=Threshold((10.0,) * 3, (5.0,) * 3, "h"),
    ),
    _line(
        "coverage", "share", "coverage",
        "Share of a band's stations that both lines reach; below 80 % the band has no values.",
        higher_is_worse=False, best=1.0, group=_PRESENCE, has_floor=False,
    ),
    _line(
        "class_flip", "share", "class flip", "The matched line has another class than the reference's.",
        has_floor=False, kind="flag", noise="", has_band=False,
    ),
    _line(
        "score_gap", "number", "score gap",
        "Change of the margin between a line's score and the threshold it must pass.", signed=True, has_band=False,
    ),
    Measure(
        "missing", "frame_metrics", "missing", "count", "missing lines",
        "Lines of the reference without a partner, per frame.", _PRESENCE, "counter", has_floor=True, noise="missing",
    ),
    Measure(
        "extra", "frame_metrics", "extra", "count", "extra lines",
        "Lines of the candidate without a partner, per frame.", _PRESENCE, "counter", has_floor=True, noise="extra",
    ),
    Measure(
        "frame_metrics.nonfinite", "frame_metrics", "nonfinite", "count", "non-finite numbers", _NONFINITE, _PRESENCE,
        "counter", family="nonfinite", noise="frame_metrics.nonfinite",
    ),
    _series(
        "bias", "length", "bias", "Mean of the lateral offset at one look-ahead over the case, left positive.",
        "series_table:bias_of", signed=True, family="offset", has_floor=True,
        threshold=Threshold((0.10, 0.10, 0.20), (0.5, 0.5, 0.5), "w"),
    ),
    _series(
        "jitter", "length", "jitter",
        "RMS second difference of the offset from frame to frame / sqrt(6): the sigma of white noise that would shake "
        "as much. Constant bias and steady drift do not count.",
        "series_table:jitter_of", has_floor=True,
    ),
    _series(
        "sway_rms", "length", "sway", "RMS of the offset at one look-ahead between 0.3 and 2 Hz.",
        "series_table:sway_of", has_floor=True,
    ),
    _series(
        "swing_rate", "rate", "swing rate", "Swings of the candidate's own per minute.",
        group="", family="swing",
    ),
    _series(
        "swing_pp", "length", "swing",
        "Peak-to-peak left-right movement of the offset at one look-ahead between successive turning points, after a "
        "3 Hz low-pass.", family="swing", has_floor=True,
    ),
    _series(
        "lag_frames", "frames", "lag",
        "Frames by which the candidate follows the reference: a delay that explains their difference beyond chance, "
        "the same on all lines.",
        signed=True, optional=True, threshold=Threshold.same(0.5),
    ),
    _series(
        "toggles_per_min", "rate", "flicker",
        "Times per minute a line appears or disappears, in excess of the reference.",
        group=_PRESENCE, family="flicker",
    ),
    Measure(
        "state.growth", "state_metrics", "growth", "number", "state growth",
        "How the divergence of a recurrent model goes with the steps n of a case, as the exponent of n: 0 stays where "
        "it is, 0.5 a random walk, 1 a steady drift, more where errors are amplified.", _TIME, noise="state.growth",
    ),
    _tensor("max_abs", "number", "largest tensor difference", "Largest difference of an output tensor.",
            has_floor=True),
    _tensor("mean_abs", "number", "mean tensor difference", "Mean absolute difference of an output tensor."),
    _tensor("p99_abs", "number", "p99 tensor difference", "99th percentile of an output tensor's differences."),
    _tensor(
        "rel_rms", "number", "tensor error",
        "RMS of the difference of an output tensor, relative to the RMS of the reference's.",
        group=_COST, has_floor=True,
    ),
    _tensor("cosine", "number", "cosine", "Cosine of the angle between two output tensors.",
            higher_is_worse=False, best=1.0),
    _tensor("snr_db", "level", "signal to noise", "Power of the reference's tensor over that of the difference.",
            higher_is_worse=False, best=float("inf")),
    _tensor("ulp_p99", "ulp", "p99 of ulps", "99th percentile of the differences in units of the last place.",
            has_floor=True),
    Measure(
        "tensor_metrics.nonfinite", "tensor_metrics", "nonfinite", "count", "non-finite numbers", _NONFINITE, "",
        "counter", family="nonfinite",
    ),
    Measure(
        "p50_ms", "latency", "p50_ms", "time", "median latency",
        "Median time of one inference on the machine that replayed.", _COST, has_reference=False, comparable=False,
    ),
    Measure(
        "p99_ms", "latency", "p99_ms", "time", "p99 latency",
        "99th percentile of the time of one inference on the machine that replayed.", "", has_reference=False,
        comparable=False,
    ),
    Measure(
        "lateral_mae", "accuracy", "lateral_mae", "length", "lateral MAE",
        "Mean absolute lateral distance to the ground truth, where a case has one.", _COST, has_reference=False,
        has_band=True,
    ),
    *(
        Measure(
            name, "accuracy", name, "share", f"F1 at {gate} m",
            f"F1 of whole lines against the ground truth, matched within {gate} m Chamfer distance.", "",
            higher_is_worse=False, best=1.0, has_reference=False, has_band=True,
        )
        for name, gate in (("f1_05", 0.5), ("f1_10", 1.0), ("f1_15", 1.5))
    ),
)  # fmt: skip


def _event(
    kind: str, quantity: Quantity, evidence: tuple[str, str], label: str, definition: str, sizing: Sizing,
    *, banded: bool = False, family: str = "", noise: str = "",
) -> Measure:  # fmt: skip
    return Measure(
        f"event.{kind}", "events", "value", quantity, label, definition, kind="event", evidence=evidence,
        has_band=banded, family=family or kind, sizing=sizing, noise=noise,
    )  # fmt: skip


# Events that are no measure over a threshold. harness.measures.events tells what the value of each is.
_EVENTS = (
    _event("swing", "length", ("series_metrics", "swing_rate"), "swing",
           "Left-right movement of the offset with three or more turning points.", "overlap", banded=True,
           noise="swing_pp"),
    _event("flicker", "rate", ("series_metrics", "toggles_per_min"), "flicker",
           "A line that appears and disappears more often than the reference's.", "case"),
    _event("missing", "frames", ("frame_metrics", "missing"), "line missing",
           "The candidate has no partner for a line of the reference.", "length"),
    _event("extra", "frames", ("frame_metrics", "extra"), "extra line",
           "The candidate has a line that the reference has not.", "length"),
    _event("no_lines", "frames", ("frame_metrics", "lines"), "no lines at all",
           "The rung drew no line in any frame of the case.", "length"),
    _event("batch_rows", "length", ("frame_metrics", "lines"), "rows of a batch",
           "Lines of a frame in a batch (--batch) are elsewhere than those of the frame alone, by more than a finding.",
           "overlap", family="batch"),
    _event("batch_lines", "frames", ("frame_metrics", "lines"), "other lines in a batch",
           "Frames that have other lines in a batch (--batch) than alone.", "overlap", family="batch"),
    _event("nonfinite", "count", ("frame_metrics", "nonfinite"), "non-finite output", _NONFINITE, "overlap"),
    _event("class_flip", "frames", ("line_metrics", "class_flip"), "class flip",
           "The matched line has another class than the reference's.", "length"),
    _event("id_swap", "count", ("line_metrics", "frame"), "track swap",
           "Two lines of the candidate change places.", "overlap"),
)  # fmt: skip

_ENTRIES: dict[str, Measure] = {}
_ALL: dict[str, Measure] = {}


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


for _entry in (*_MEASURES, *_EVENTS):
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
    for measure in _ALL.values():
        if name in (measure.name, measure.name if measure.measured else f"{measure.table}.{measure.column}"):
            return measure
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


def quantity_of(measure: Measure, statistic: Statistic) -> Quantity:
    """What a statistic of a measure measures: counting changes the unit."""
    counted: dict[Statistic, Quantity] = {"count": "count", "rate_per_min": "rate", "share": "share"}
    return counted.get(statistic, measure.quantity)
