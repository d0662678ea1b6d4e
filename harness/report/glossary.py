"""What the report says of every metric and event: its name, its unit, its definition, and how its numbers are written.

The definitions are those of docs/DESIGN.md section 4 in one sentence each; the report shows them as tooltips and, for
print, as a list at its end.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

__all__ = [
    "EVENT_LABELS",
    "METRICS",
    "Metric",
    "Quantity",
    "definition_of",
    "label_of",
    "number",
    "quantity_of_unit",
    "unit_text",
    "with_unit",
]

Quantity = Literal[
    "length", "angle", "curvature", "count", "share", "db", "time_ms", "frequency", "rate", "frames", "plain"
]
Worst = Literal["max", "min"]


@dataclass(frozen=True, slots=True)
class Metric:
    """One column of the rung table.

    Attributes:
        key: name in the report's data.
        label: heading.
        group: heading over several columns.
        table: run table it is read from.
        column: column of that table; the absolute value counts.
        quantity: decides unit and decimals.
        worst: which end is bad.
        definition: one sentence, shown as a tooltip.
        banded: measured per band (near, mid, far).
        limit: attribute of the grid's thresholds it is compared with; empty where DESIGN names none.
    """

    key: str
    label: str
    group: str
    table: str
    column: str
    quantity: Quantity
    definition: str
    worst: Worst = "max"
    banded: bool = True
    limit: str = ""


_SHAPE, _TIME, _PRESENCE, _COST = "Shape of the line", "Over time", "Presence", "Tensors, truth, speed"

METRICS: tuple[Metric, ...] = (
    Metric("offset", "offset", _SHAPE, "line_metrics", "offset_max", "length",
           "Largest lateral distance of the candidate's line from the reference's along one band."),
    Metric("heading", "heading", _SHAPE, "line_metrics", "heading", "angle",
           "Slope of the lateral offset along the band: how far the line is turned as a whole."),
    Metric("bend", "bend", _SHAPE, "line_metrics", "bend", "length",
           "Largest distance of the lateral offset from any of its own chords within one band: a shifted or turned "
           "line has bend 0, a bow of 0.2 m reads 0.2 m.", limit="bend"),
    Metric("kink", "kink", _SHAPE, "line_metrics", "kink", "angle",
           "Largest change of direction of the offset over a fixed length: a corner in the line.", limit="kink_rad"),
    Metric("curvature_gap", "curvature gap", _SHAPE, "line_metrics", "curvature_gap", "curvature",
           "Difference of curvature between the candidate's line and the reference's."),
    Metric("swing", "swing", _TIME, "series_metrics", "swing_pp", "length",
           "Peak-to-peak left-right movement of the offset at one look-ahead between successive turning points, "
           "after a 3 Hz low-pass.", limit="swing"),
    Metric("sway", "sway", _TIME, "series_metrics", "sway_rms", "length",
           "RMS of the offset at one look-ahead between 0.3 and 2 Hz."),
    Metric("jitter", "jitter", _TIME, "series_metrics", "jitter", "length",
           "RMS second difference of the offset from frame to frame / sqrt(6): the sigma of white noise that would "
           "shake as much. Constant bias and steady drift do not count."),
    Metric("bias", "bias", _TIME, "series_metrics", "bias", "length",
           "Mean of the lateral offset over the case, left positive; its size is shown."),
    Metric("lag", "lag", _TIME, "series_metrics", "lag_frames", "frames",
           "Frames by which the candidate follows the reference, by cross-correlation."),
    Metric("state_growth", "state growth", _TIME, "state_metrics", "growth", "plain",
           "How the divergence of a recurrent model goes with the steps n of a case, as the exponent of n: 0 stays "
           "where it is, 0.5 a random walk, 1 a steady drift, more where errors are amplified.", banded=False),
    Metric("flicker", "flicker", _PRESENCE, "series_metrics", "toggles_per_min", "rate",
           "Times per minute a line appears or disappears, in excess of the reference."),
    Metric("missing", "missing", _PRESENCE, "frame_metrics", "missing", "count",
           "Lines of the reference without a partner, per frame.", banded=False),
    Metric("extra", "extra", _PRESENCE, "frame_metrics", "extra", "count",
           "Lines of the candidate without a partner, per frame.", banded=False),
    Metric("coverage", "coverage", _PRESENCE, "line_metrics", "coverage", "share",
           "Share of a band's stations that both lines reach; below 80 % the band has no values.", worst="min"),
    Metric("nonfinite", "non-finite", _PRESENCE, "frame_metrics", "nonfinite", "count",
           "NaN or infinite numbers in the outputs of one frame.", banded=False),
    Metric("rel_rms", "tensor error", _COST, "tensor_metrics", "rel_rms", "share",
           "RMS of the difference of an output tensor, relative to the RMS of the reference's.", banded=False),
    Metric("truth", "lateral MAE", _COST, "accuracy", "lateral_mae", "length",
           "Mean absolute lateral distance to the ground truth, where a case has one."),
    Metric("latency", "latency p50", _COST, "latency", "p50_ms", "time_ms",
           "Median time of one inference on the machine that replayed.", banded=False),
)  # fmt: skip

EVENT_LABELS: dict[str, str] = {
    "missing": "line missing", "extra": "extra line", "nonfinite": "non-finite output", "id_swap": "track swap",
    "largest_bend": "largest bend, no event", "largest_offset": "largest offset, no event", "first": "first frame",
}  # fmt: skip

_UNITS: dict[Quantity, str] = {
    "angle": "°", "curvature": "1/m", "count": "", "share": "%", "db": "dB", "time_ms": "ms", "frequency": "Hz",
    "rate": "1/min", "frames": "frames", "plain": "",
}  # fmt: skip
_OF_UNIT: dict[str, Quantity] = {
    "m": "length", "px": "length", "rad": "angle", "deg": "angle", "1/m": "curvature", "1/px": "curvature",
    "ms": "time_ms", "Hz": "frequency", "1/min": "rate", "frames": "frames", "dB": "db", "share": "share",
    "count": "count",
}  # fmt: skip
_SCALE: dict[Quantity, float] = {"angle": 180 / math.pi, "share": 100.0}
_DECIMALS: dict[Quantity, int] = {"length": 3, "angle": 2, "share": 1, "db": 1, "frequency": 2, "rate": 1}


def label_of(kind: str) -> str:
    """A kind of event in words."""
    return EVENT_LABELS.get(kind, kind.replace("_", " "))


def definition_of(kind: str) -> str:
    """The definition of a metric or of the metric behind a kind of event; empty where there is none."""
    key = {"largest_bend": "bend", "largest_offset": "offset", "class_flip": "", "id_swap": ""}.get(kind, kind)
    return next((m.definition for m in METRICS if key and key in (m.key, m.column)), "")


def quantity_of_unit(unit: str) -> Quantity:
    """The quantity behind a unit as tables and policies write it."""
    return _OF_UNIT.get(unit, "plain")


def unit_text(quantity: Quantity, length_unit: str) -> str:
    """The unit as readers see it: angles in degrees, shares in percent, lengths in `m` or `px`."""
    if quantity == "length":
        return length_unit
    if quantity == "curvature":
        return f"1/{length_unit}"
    return _UNITS[quantity]


def number(value: float | None, quantity: Quantity, length_unit: str = "m") -> str:
    """A number without its unit; rad become degrees, shares percent; an en dash where there is no value.

    Small values that would read as zero get two significant digits, so that 0 always means zero.
    """
    if value is None or math.isnan(value):
        return "–"
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    shown = value * _SCALE.get(quantity, 1.0) or 0.0  # no minus before a zero
    decimals = _decimals(shown, quantity, length_unit)
    if decimals is None:
        text = f"{shown:.3g}" if abs(shown) < 1000 else f"{shown:,.0f}".replace(",", " ")
    elif shown != 0 and abs(shown) < 0.5 * 10**-decimals:
        text = f"{shown:.1g}"
    else:
        text = f"{shown:,.{decimals}f}".replace(",", " ")
    return _scientific(text).replace("-", "−")


def with_unit(value: float | None, quantity: Quantity, length_unit: str = "m") -> str:
    """A number and its unit: `0.312 m`, `3.10°`, `98.0 %`."""
    text = number(value, quantity, length_unit)
    unit = unit_text(quantity, length_unit)
    if text == "–" or not unit:
        return text
    if text == "1" and unit.endswith("s") and quantity == "frames":
        unit = unit.removesuffix("s")
    return f"{text}{unit}" if unit == "°" else f"{text} {unit}"


def _decimals(shown: float, quantity: Quantity, length_unit: str) -> int | None:
    """Decimals of a number as shown; None for three significant digits."""
    if quantity in ("count", "frames"):
        return 0 if shown == round(shown) else {"count": 2, "frames": 1}[quantity]
    if quantity == "time_ms":
        return 2 if abs(shown) < 10 else 1 if abs(shown) < 100 else 0
    if quantity == "length" and length_unit == "px":
        return 2
    return _DECIMALS.get(quantity)


def _scientific(text: str) -> str:
    """`3e-05` as `3·10⁻⁵`."""
    mantissa, e, exponent = text.partition("e")
    if not e:
        return text
    raised = str(int(exponent)).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))
    return f"{mantissa}·10{raised}"
