"""What a rule may measure: every metric of the run tables and every kind of event, as data.

A metric is written by its column (`bend`), or `TABLE.COLUMN` where two tables share the name; an event by `event.KIND`,
the noise floor of a metric by `floor.METRIC`. Signed metrics are judged by their absolute value. `higher_is_worse`
gives a limit its direction.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from harness.run.units import Quantity

__all__ = ["EVENTS", "FLOORS", "METRICS", "STATISTICS", "Metric", "Statistic", "find_metric", "quantity_of"]

Statistic = Literal["max", "min", "mean", "p1", "p5", "p50", "p95", "p99", "count", "rate_per_min", "share"]
Kind = Literal["value", "counter", "flag", "event", "floor"]

# which statistics make sense, by kind of metric and by the direction that is worse
STATISTICS: dict[tuple[Kind, bool], tuple[Statistic, ...]] = {
    ("value", True): ("max", "mean", "p50", "p95", "p99"),
    ("value", False): ("min", "mean", "p50", "p5", "p1"),
    ("counter", True): ("max", "mean", "p50", "p95", "p99", "count", "rate_per_min", "share"),
    ("flag", True): ("share", "count", "rate_per_min"),
    ("event", True): ("count", "rate_per_min", "max"),
    ("floor", True): ("max",),
}


@dataclass(frozen=True, slots=True)
class Metric:
    """One thing a rule may measure.

    Attributes:
        name: as the policy writes it.
        table: where its values are.
        column: the column there (for an event: `value`).
        quantity: what it measures; decides the units of its limit.
        kind: `value` (a number per row), `counter` (how many per frame), `flag` (yes or no), `event`, `floor`.
        higher_is_worse: false for coverage, F1, cosine and the like.
        signed: judged by absolute value.
        best: the value of a perfect candidate.
        evidence: for an event, (table, column) whose non-null rows show that one looked for it.
        has_reference: the table compares with a reference rung.
        has_band: the table tells bands (or the stations of bands) apart.
        comparable: may be compared with a baseline run.
    """

    name: str
    table: str
    column: str
    quantity: Quantity
    kind: Kind = "value"
    higher_is_worse: bool = True
    signed: bool = False
    best: float = 0.0
    evidence: tuple[str, str] | None = None
    has_reference: bool = True
    has_band: bool = False
    comparable: bool = True

    @property
    def statistics(self) -> tuple[Statistic, ...]:
        """Statistics that a rule on it may use."""
        allowed = STATISTICS[self.kind, self.higher_is_worse]
        if self.kind == "counter" and self.column not in ("missing", "extra"):
            return tuple(s for s in allowed if s != "share")
        return allowed

    @property
    def output_column(self) -> str:
        """The column that a rule's `output` is a pattern of; empty where the table has none."""
        return {"tensor_metrics": "output", "state_metrics": "signal"}.get(self.table, "")

    @property
    def measured(self) -> str:
        """What rows of a shared table are about: `swing` of `event.swing`, `bend` of `floor.bend`; else empty."""
        return self.name.partition(".")[2] if self.kind in ("event", "floor") else ""


def _line(column: str, quantity: Quantity, **more: object) -> Metric:
    return Metric(column, "line_metrics", column, quantity, has_band=True, **more)  # type: ignore[arg-type]  # keywords of Metric


def _series(column: str, quantity: Quantity, **more: object) -> Metric:
    return Metric(column, "series_metrics", column, quantity, has_band=True, **more)  # type: ignore[arg-type]  # keywords of Metric


def _tensor(column: str, quantity: Quantity, **more: object) -> Metric:
    return Metric(column, "tensor_metrics", column, quantity, **more)  # type: ignore[arg-type]  # keywords of Metric


def _event(kind: str, quantity: Quantity, table: str, column: str, *, banded: bool = False) -> Metric:
    return Metric(f"event.{kind}", "events", "value", quantity, "event", evidence=(table, column), has_band=banded)


_ALL = (
    _line("coverage", "share", higher_is_worse=False, best=1.0),
    _line("offset_mean", "length", signed=True),
    _line("offset_max", "length", signed=True),
    _line("heading", "angle", signed=True),
    _line("bend", "length"),
    _line("bend_rms", "length"),
    _line("kink", "angle"),
    _line("curvature_gap", "curvature", signed=True),
    _line("chamfer", "length"),
    _line("class_flip", "share", kind="flag"),
    _line("score_gap", "number", signed=True),
    Metric("missing", "frame_metrics", "missing", "count", "counter"),
    Metric("extra", "frame_metrics", "extra", "count", "counter"),
    Metric("frame_metrics.nonfinite", "frame_metrics", "nonfinite", "count", "counter"),
    _tensor("max_abs", "number"),
    _tensor("mean_abs", "number"),
    _tensor("p99_abs", "number"),
    _tensor("rel_rms", "number"),
    _tensor("cosine", "number", higher_is_worse=False, best=1.0),
    _tensor("snr_db", "level", higher_is_worse=False, best=float("inf")),
    _tensor("ulp_p99", "ulp"),
    Metric("tensor_metrics.nonfinite", "tensor_metrics", "nonfinite", "count", "counter"),
    _series("bias", "length", signed=True),
    _series("jitter", "length"),
    _series("sway_rms", "length"),
    _series("swing_rate", "rate"),
    _series("swing_pp", "length"),
    _series("lag_frames", "frames", signed=True),
    _series("toggles_per_min", "rate"),
    Metric("state.growth", "state_metrics", "growth", "number"),
    Metric("p50_ms", "latency", "p50_ms", "time", has_reference=False, comparable=False),
    Metric("p99_ms", "latency", "p99_ms", "time", has_reference=False, comparable=False),
    Metric("lateral_mae", "accuracy", "lateral_mae", "length", has_reference=False, has_band=True),
    *(
        Metric(f, "accuracy", f, "share", higher_is_worse=False, best=1.0, has_reference=False, has_band=True)
        for f in ("f1_05", "f1_10", "f1_15")
    ),
)

# harness.measures.events tells what the value of each kind is; the evidence is what has rows wherever it was looked for
EVENTS: dict[str, Metric] = {
    m.measured: m
    for m in (
        _event("bend", "length", "line_metrics", "bend", banded=True),
        _event("kink", "angle", "line_metrics", "kink", banded=True),
        _event("swing", "length", "series_metrics", "swing_rate", banded=True),
        _event("flicker", "rate", "series_metrics", "toggles_per_min"),
        _event("missing", "frames", "frame_metrics", "missing"),
        _event("extra", "frames", "frame_metrics", "extra"),
        _event("nonfinite", "count", "frame_metrics", "nonfinite"),
        _event("class_flip", "frames", "line_metrics", "class_flip"),
        _event("id_swap", "count", "line_metrics", "frame"),
    )
}
# metrics whose noise floor harness.measures.floor measures; those in the second row know bands
_FLOORS = (
    (
        "chamfer",
        "score_gap",
        "missing",
        "extra",
        "max_abs",
        "rel_rms",
        "ulp_p99",
        "bias",
        "jitter",
        "sway_rms",
        "swing_pp",
    ),
    ("offset_mean", "offset_max", "heading", "bend", "bend_rms", "kink", "curvature_gap"),
)
FLOORS = tuple(
    Metric(
        f"floor.{m.name}", "floors", "value", m.quantity, "floor", has_reference=False, has_band=m.name in _FLOORS[1]
    )
    for m in _ALL
    if m.name in _FLOORS[0] + _FLOORS[1]
)
METRICS: dict[str, Metric] = {m.name: m for m in (*_ALL, *EVENTS.values(), *FLOORS)}


def find_metric(name: str) -> Metric:
    """The metric of that name; `TABLE.COLUMN` is understood for every column.

    Raises:
        ValueError: there is none, or two tables have it.
    """
    for metric in METRICS.values():
        if name in (metric.name, metric.name if metric.measured else f"{metric.table}.{metric.column}"):
            return metric
    twins = [m.name for m in METRICS.values() if m.name.endswith(f".{name}") and not m.measured]
    if twins:
        raise ValueError(f"metric {name!r} is in several tables, write {' or '.join(twins)}")
    raise ValueError(f"unknown metric {name!r}, must be in {sorted(METRICS)}")


def quantity_of(metric: Metric, statistic: Statistic) -> Quantity:
    """What a statistic of a metric measures: counting changes the unit."""
    counted: dict[Statistic, Quantity] = {"count": "count", "rate_per_min": "rate", "share": "share"}
    return counted.get(statistic, metric.quantity)
