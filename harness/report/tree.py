"""The ladder as a drawing: where each rung stands, and which steps moved the lines.

Columns are depth, from the lab on the left to the car on the right; the child with the longest way to go continues its
parent's row, so the main chain is a straight line and everything that hangs off it stands below. A step has *moved the
lines* where events appear on its rung that its parent does not have at half their size.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from harness.report.facts import RunFacts, RungFacts
from harness.report.glossary import label_of, quantity_of_unit, with_unit
from harness.report.palette import RungStyle
from harness.report.select import worst_events

__all__ = ["ladder_view", "layout", "new_events"]

NODE_WIDTH, NODE_HEIGHT = 208, 66
PITCH_X, PITCH_Y = 246, 84
MARGIN = 6
_EVENT = ("case", "kind", "track", "band", "rung")
ALREADY_THERE = 0.5  # share of an event's size at which the parent is said to have it too


def layout(rungs: Sequence[RungFacts]) -> dict[str, tuple[int, int]]:
    """(column, row) of each rung."""
    names = {r.name for r in rungs}
    children: dict[str | None, list[str]] = {}
    for rung in rungs:
        children.setdefault(rung.parent if rung.parent in names else None, []).append(rung.name)
    depth = {name: _depth(name, children) for name in names}
    places: dict[str, tuple[int, int]] = {}
    free: dict[int, int] = {}  # column -> first row without a box

    def place(name: str, column: int, above: int) -> None:
        chain = range(column, column + depth[name])
        row = max([above, *(free.get(c, 0) for c in chain)])
        places[name] = (column, row)
        free[column] = row + 1
        for child in sorted(children.get(name, ()), key=lambda c: -depth[c]):
            place(child, column + 1, row)

    for root in children.get(None, ()):
        place(root, 0, 0)
    return places


def new_events(events: pl.LazyFrame, facts: RunFacts) -> dict[str, list[dict[str, Any]]]:
    """Events that appear at a rung and not (at half their size) at its parent: rung -> rows, worst first."""
    worst = worst_events(events, facts.reference).filter(pl.col("owner").fill_null("candidate") == "candidate")
    size = {tuple(row[c] for c in _EVENT): row["severity"] for row in worst.iter_rows(named=True)}
    parent = {r.name: r.parent for r in facts.rungs}
    found: dict[str, list[dict[str, Any]]] = {}
    for row in worst.iter_rows(named=True):
        key = tuple(row[c] for c in _EVENT[:-1])
        if size.get((*key, parent.get(row["rung"])), 0.0) < ALREADY_THERE * row["severity"]:
            found.setdefault(row["rung"], []).append(row)
    return found


def ladder_view(
    facts: RunFacts,
    styles: Mapping[str, RungStyle],
    appeared: Mapping[str, Sequence[Mapping[str, Any]]],
    blame: Mapping[str, int],
) -> dict[str, Any]:
    """Boxes and elbows in pixels.

    Args:
        facts: the run.
        styles: colour of each rung.
        appeared: `new_events`.
        blame: rung -> anomalies that begin there, for the rungs an explanation speaks of; the others count `appeared`.
    """
    places = layout(facts.rungs)
    nodes = [_node(r, places[r.name], styles[r.name], appeared.get(r.name, ()), blame, facts) for r in facts.rungs]
    at = {n["name"]: n for n in nodes}
    edges = [_edge(at[r.parent], at[r.name]) for r in facts.rungs if r.parent in at]
    columns = max((c for c, _ in places.values()), default=0)
    rows = max((r for _, r in places.values()), default=0)
    return {
        "nodes": nodes,
        "edges": sorted(edges, key=lambda e: e["moved"]),
        "width": columns * PITCH_X + NODE_WIDTH + 2 * MARGIN,
        "height": rows * PITCH_Y + NODE_HEIGHT + 2 * MARGIN,
        "node_width": NODE_WIDTH,
        "node_height": NODE_HEIGHT,
    }


def _node(
    rung: RungFacts,
    place: tuple[int, int],
    style: RungStyle,
    appeared: Sequence[Mapping[str, Any]],
    blame: Mapping[str, int],
    facts: RunFacts,
) -> dict[str, Any]:
    count = blame.get(rung.name, len(appeared))
    is_reference = rung.name == facts.reference
    return {
        "name": rung.name,
        "x": place[0] * PITCH_X + MARGIN,
        "y": place[1] * PITCH_Y + MARGIN,
        "colour": style.colour,
        "stroke": style.stroke,
        "status": rung.status,
        "reason": rung.reason,
        "moved": count > 0 and not is_reference,
        "step": "reference" if is_reference else " + ".join(rung.factors) or "no named factor",
        "several": len(rung.factors) > 1,
        "text": "" if is_reference else _said(rung, count, appeared, facts.unit),
    }


def _said(rung: RungFacts, count: int, appeared: Sequence[Mapping[str, Any]], length_unit: str) -> str:
    """What happened at this step, in a few words."""
    if rung.status == "not_run":
        return "not run"
    if rung.status == "crashed":
        return "crashed"
    if not count:
        return "no new events"
    if not appeared:
        return f"{count} anomal{'y' if count == 1 else 'ies'} begin here"
    worst = appeared[0]
    size = with_unit(worst["value"], quantity_of_unit(worst["unit"] or ""), length_unit)
    return f"{count} new, {label_of(worst['kind'])} {size}"


def _edge(parent: Mapping[str, Any], child: Mapping[str, Any]) -> dict[str, Any]:
    x0, y0 = parent["x"] + NODE_WIDTH, parent["y"] + NODE_HEIGHT / 2
    x1, y1 = child["x"], child["y"] + NODE_HEIGHT / 2
    bend = x0 + (PITCH_X - NODE_WIDTH) / 2
    path = f"M{x0} {y0}H{x1}" if y0 == y1 else f"M{x0} {y0}H{bend}V{y1}H{x1}"
    return {"path": path, "moved": child["moved"], "status": child["status"]}


def _depth(name: str, children: Mapping[str | None, Sequence[str]]) -> int:
    return 1 + max((_depth(c, children) for c in children.get(name, ())), default=0)
