"""What is declared of a measure: the words of an entry in harness/run/catalogue.py."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib import import_module
from typing import Any, Literal

from harness.model.grid import BANDS_M, KINK_M, Grid
from harness.run.units import Quantity

__all__ = ["COUNTING", "STATISTICS", "Group", "Kind", "Measure", "Pooled", "Sizing", "Statistic", "Threshold"]

Statistic = Literal[
    "max", "min", "mean", "p1", "p5", "p50", "p95", "p99", "sustained", "count", "rate_per_min", "share", "seconds",
    "episodes_per_h",
]  # fmt: skip
Kind = Literal["value", "counter", "flag", "event", "floor"]
Pooled = Literal["max", "mean", "rms"]
Sizing = Literal["frames", "case", "overlap", "length"]
Group = Literal["Shape of the line", "Over time", "Presence", "Tensors, truth, speed", ""]

# statistics whose numbers are no values of the measure
COUNTING: tuple[Statistic, ...] = ("count", "rate_per_min", "share", "seconds", "episodes_per_h")

# which statistics make sense, by kind of measure and by the direction that is worse
STATISTICS: dict[tuple[Kind, bool], tuple[Statistic, ...]] = {
    ("value", True): ("max", "mean", "p50", "p95", "p99"),
    ("value", False): ("min", "mean", "p50", "p5", "p1"),
    ("counter", False): ("min", "mean", "p50", "p5", "p1"),
    ("counter", True): ("max", "mean", "p50", "p95", "p99", "count", "rate_per_min", "share"),
    ("flag", True): ("share", "count", "rate_per_min"),
    ("event", True): ("count", "rate_per_min", "max", "seconds", "episodes_per_h"),
    ("floor", True): ("max",),
}


@dataclass(frozen=True, slots=True)
class Threshold:
    """From where on a measure is a finding, near to far.

    Attributes:
        vehicle: in base units (m, radians, frames, ...).
        image: in the unit of `image_of`.
        image_of: `w` and `h`: per cent of the image's width and height; empty: base units.
        along: a length along the road, not across it: a metre of it is another number of rows everywhere.
        over: of an angle: what it is over, the band or the length of a kink. Seen at a slant an angle is another one;
            what it moves a line across the road stays.
    """

    vehicle: tuple[float, float, float]
    image: tuple[float, float, float]
    image_of: Literal["w", "h", ""] = ""
    along: bool = False
    over: Literal["band", "kink", ""] = ""

    @classmethod
    def same(cls, value: float) -> Threshold:
        """One value for every band and both frames."""
        return cls((value,) * 3, (value,) * 3)

    def of(self, grid: Grid) -> tuple[float, float, float]:
        """Base units of a model's grid: m or px, radians, frames."""
        if grid.frame == "vehicle":
            return self.vehicle
        if grid.px_per_m is not None and ((self.image_of and not self.along) or self.over):
            near, mid, far = (
                value * over * scale
                for value, over, scale in zip(self.vehicle, self._over(grid), grid.px_per_m, strict=True)
            )
            return near, mid, far
        size = {"w": grid.width / 100, "h": grid.height / 100, "": 1.0}[self.image_of]
        near, mid, far = (size * value for value in self.image)
        return near, mid, far

    def _over(self, grid: Grid) -> tuple[float, ...]:
        """Metres on the road over rows of the image, for an angle; 1 for a length."""
        if self.over == "kink":
            return tuple(m / rows for m, rows in zip(KINK_M, grid.thresholds.kink_length, strict=True))
        if self.over == "band":
            return tuple(m / abs(b - a) for m, (a, b) in zip(BANDS_M, grid.edges, strict=True))
        return (1.0,) * 3


@dataclass(frozen=True, slots=True)
class Measure:
    """One thing that is measured.

    Attributes:
        name: as policies write it.
        table: where its values are.
        column: the column there (for an event: `value`).
        quantity: what it measures; decides the units of its limit.
        label: its name for readers.
        definition: one or two sentences for readers; docs/DESIGN.md section 4 is longer.
        group: heading over its column in the report's table; empty: it has none.
        kind: `value` (a number per row), `counter` (how many per frame), `flag` (yes or no), `event`, `floor`.
        higher_is_worse: false for coverage, F1, cosine and the like.
        signed: judged by absolute value.
        best: the value of a perfect candidate.
        evidence: for an event, (table, column) whose non-null rows show that one looked for it.
        has_reference: the table compares with a reference rung.
        has_band: the table tells bands (or the stations of bands) apart.
        comparable: may be compared with a baseline run.
        threshold: from where on it is a finding without any policy; None: only a policy's limit makes it one.
        family: measures of one family that are over their limits on the same line, band and frames are one finding.
        sizing: how an explanation sizes a finding on another rung: `frames`, the worst value of the same line and band
            in the same frames; `case`, its value of the same line; `overlap`, the largest event of the kind that
            overlaps; `length`, the number of those frames in which the rung has the event too.
        below: of an event that has no measure of its own name: the measure that has its size where there is none.
        noise: measure whose noise floor a limit on this one must clear; empty: none.
        has_floor: the noise floor measures it.
        optional: it has a value only where there is something to measure (a reference that moves, a closed line), so
            that a case without one is no case unjudged.
        of_case: it has no value only where the case itself cannot tell (a road on which nothing moves), whatever the
            candidate draws: such a case is left out of a rule.
        needs_eyes: a network that draws the same lines on every road is told by it.
        per_rate: it means something else at another frame rate, so that only cases of one rate are pooled.
        needs_s: over time: seconds on end that a line must be there for a value; it is not asked of a line that the
            reference itself has for less.
        whole_band: of matched lines: it has a value only where the reference has the band, not a piece of it.
        only_bands: property of the grid that tells in which bands it can have a value at all; empty: in all.
        pooled: of a time series: how the numbers of the sections of a long case become one; `max` by size, `mean` and
            `rms` by their frames.
        compute: `module:function` that computes it, for measures of line pairs and time series; empty: its table is
            filled as a whole.
    """

    name: str
    table: str
    column: str
    quantity: Quantity
    label: str = ""
    definition: str = ""
    group: Group = ""
    kind: Kind = "value"
    higher_is_worse: bool = True
    signed: bool = False
    best: float = 0.0
    evidence: tuple[str, str] | None = None
    has_reference: bool = True
    has_band: bool = False
    comparable: bool = True
    threshold: Threshold | None = None
    family: str = ""
    sizing: Sizing = "frames"
    below: str = ""
    noise: str = ""
    has_floor: bool = False
    optional: bool = False
    of_case: bool = False
    needs_eyes: bool = False
    per_rate: bool = False
    needs_s: float = 0.0
    whole_band: bool = False
    only_bands: Literal["bands_with_kink", ""] = ""
    pooled: Pooled = "max"
    compute: str = ""

    @property
    def statistics(self) -> tuple[Statistic, ...]:
        """Statistics that a rule on it may use."""
        allowed = STATISTICS[self.kind, self.higher_is_worse]
        if self.kind == "counter" and self.column not in ("missing", "extra"):
            return tuple(s for s in allowed if s != "share")
        if self.kind == "value" and self.higher_is_worse and self.table == "line_metrics":
            return (*allowed, "sustained")
        return allowed

    @property
    def output_column(self) -> str:
        """The column that a rule's `output` is a pattern of; empty where the table has none."""
        return {"tensor_metrics": "output", "state_metrics": "signal"}.get(self.table, "")

    @property
    def per_line(self) -> bool:
        """Whether it is of a whole line, so that the rows of all its bands hold the same value."""
        return self.table == "line_metrics" and not self.has_band

    @property
    def measured(self) -> str:
        """What rows of a shared table are about: `swing` of `event.swing`, `bend` of `floor.bend`; else empty."""
        return self.name.partition(".")[2] if self.kind in ("event", "floor") else ""

    @property
    def kin(self) -> str:
        """The family, or the measure itself (of an event, what it is an event of) where it has none."""
        return self.family or self.measured or self.name

    @property
    def function(self) -> Any:
        """What `compute` names, imported."""
        return _function(self.compute)


@cache
def _function(compute: str) -> Any:
    module, _, name = compute.partition(":")
    return getattr(import_module(module), name)
