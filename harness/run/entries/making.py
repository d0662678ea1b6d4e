"""How entries of the catalogue are made: what all measures of one table have in common."""

from __future__ import annotations

from typing import Any

from harness.run.measure import Group, Measure, Sizing
from harness.run.units import Quantity

__all__ = [
    "COST",
    "NONFINITE",
    "PRESENCE",
    "SHAPE",
    "TIME",
    "event_entry",
    "lane_entry",
    "line_entry",
    "series_entry",
    "tensor_entry",
]

SHAPE: Group = "Shape of the line"
TIME: Group = "Over time"
PRESENCE: Group = "Presence"
COST: Group = "Tensors, truth, speed"

NONFINITE = "NaN or infinite numbers in the outputs of one frame."


def line_entry(name: str, quantity: Quantity, label: str, definition: str, function: str = "", **more: Any) -> Measure:
    """A measure of matched lines, by band; `function` is `MODULE:NAME` of harness.measures."""
    compute = f"harness.measures.{function}" if function else ""
    settings: dict[str, Any] = {"has_band": True, "has_floor": True, "noise": name, "compute": compute} | more
    return Measure(name, "line_metrics", name, quantity, label, definition, **settings)


def series_entry(
    name: str, quantity: Quantity, label: str, definition: str, function: str = "", **more: Any
) -> Measure:
    """A measure of one line over time; `function` is `MODULE:NAME` of harness.measures."""
    compute = f"harness.measures.{function}" if function else ""
    settings: dict[str, Any] = {"group": TIME, "has_band": True, "sizing": "case", "noise": name, "compute": compute}
    return Measure(name, "series_metrics", name, quantity, label, definition, **settings | more)


def lane_entry(name: str, quantity: Quantity, label: str, definition: str) -> Measure:
    """A measure of a car that follows the ego lane, over a case."""
    return Measure(name, "lane_metrics", name, quantity, label, definition, sizing="case")


def tensor_entry(name: str, quantity: Quantity, label: str, definition: str, **more: Any) -> Measure:
    """A measure of an output tensor."""
    return Measure(name, "tensor_metrics", name, quantity, label, definition, **{"noise": name} | more)


def event_entry(
    kind: str, quantity: Quantity, evidence: tuple[str, str], label: str, definition: str, sizing: Sizing,
    *, banded: bool = False, family: str = "", noise: str = "", below: str = "", needs_s: float = 0.0,
) -> Measure:  # fmt: skip
    """A kind of event that is no measure over a threshold."""
    return Measure(
        f"event.{kind}", "events", "value", quantity, label, definition, kind="event", evidence=evidence,
        has_band=banded, family=family or kind, sizing=sizing, noise=noise, below=below, needs_s=needs_s,
    )  # fmt: skip
