"""The ladder as a drawing: where each rung stands, and which steps moved the lines.

Columns are depth, from the lab on the left to the car on the right; the child with the longest way to go continues its
parent's row, so the main chain is a straight line and everything that hangs off it stands below. A step has *moved the
lines* where findings begin: the numbers are those of the explanation.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from harness.ladder import Finding
from harness.ladder.words import size_of
from harness.report.palette import RungStyle
from harness.run.catalogue import label_of
from harness.run.facts import RunFacts, RungFact

__all__ = ["ladder_view", "layout"]

NODE_WIDTH, NODE_HEIGHT = 208, 66
PITCH_X, PITCH_Y = 246, 84
MARGIN = 6


def layout(rungs: Sequence[RungFact]) -> dict[str, tuple[int, int]]:
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


def ladder_view(
    facts: RunFacts,
    styles: Mapping[str, RungStyle],
    findings: Sequence[Finding],
) -> dict[str, Any]:
    """Boxes and elbows in pixels.

    Args:
        facts: the run.
        styles: colour of each rung.
        findings: of the explanation, worst first.
    """
    rungs = list(facts.rungs.values())
    places = layout(rungs)
    nodes = [_node(r, places[r.name], styles[r.name], [f for f in findings if f.first == r.name], facts) for r in rungs]
    at = {n["name"]: n for n in nodes}
    edges = [_edge(at[r.parent], at[r.name]) for r in rungs if r.parent in at]
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
    rung: RungFact,
    place: tuple[int, int],
    style: RungStyle,
    own: Sequence[Finding],
    facts: RunFacts,
) -> dict[str, Any]:
    is_reference = rung.name == facts.reference
    return {
        "name": rung.name,
        "x": place[0] * PITCH_X + MARGIN,
        "y": place[1] * PITCH_Y + MARGIN,
        "colour": style.colour,
        "stroke": style.stroke,
        "status": rung.status,
        "reason": rung.reason,
        "moved": bool(own) and not is_reference,
        "step": "reference" if is_reference else " + ".join(rung.factors) or "no named factor",
        "several": len(rung.factors) > 1,
        "text": "" if is_reference else _said(rung, own),
    }


def _said(rung: RungFact, own: Sequence[Finding]) -> str:
    """What happened at this step, in a few words; `own`: findings that begin here, worst first."""
    if rung.status == "not_run":
        return "not run"
    if rung.status == "crashed":
        return "crashed"
    if not own:
        return "no finding begins here"
    return f"{len(own)} begin, {label_of(own[0].measure)} {size_of(own[0].value, own[0].unit)}"


def _edge(parent: Mapping[str, Any], child: Mapping[str, Any]) -> dict[str, Any]:
    x0, y0 = parent["x"] + NODE_WIDTH, parent["y"] + NODE_HEIGHT / 2
    x1, y1 = child["x"], child["y"] + NODE_HEIGHT / 2
    bend = x0 + (PITCH_X - NODE_WIDTH) / 2
    path = f"M{x0} {y0}H{x1}" if y0 == y1 else f"M{x0} {y0}H{bend}V{y1}H{x1}"
    return {"path": path, "moved": child["moved"], "status": child["status"]}


def _depth(name: str, children: Mapping[str | None, Sequence[str]]) -> int:
    return 1 + max((_depth(c, children) for c in children.get(name, ())), default=0)
