"""An explanation in words, for the terminal."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from harness.ladder.model import Anomaly, Explanation
from harness.terminal import show, table

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

__all__ = ["render"]

SHOWN = 12


def render(explanation: Explanation, console: Console | None = None) -> None:
    """Print who is to blame, the worst anomaly of each step, kind and case with its shares, and what was left out.

    Args:
        explanation: of a run.
        console: where to; None for standard output.
    """
    if not explanation.anomalies:
        show(f"No anomaly against {explanation.reference} on {len(explanation.rungs) - 1} rungs.", console=console)
    else:
        show(_suspects(explanation), _anomalies(explanation), console=console)
        left = len(explanation.anomalies) - len(_shown(explanation))
        if left:
            show(f"{left} more; --json has them all.", console=console)
    show(*(f"note: {note}" for note in explanation.notes), console=console)


def _suspects(explanation: Explanation) -> Table:
    rows = []
    for s in explanation.suspects:
        kinds = ", ".join(f"{count} {kind}" for kind, count in s.kinds.items())
        blame = (s.stage or "none alone", s.factor or " + ".join(s.factors))
        rows.append((s.rung, *blame, str(s.count), f"{s.share:.0%}", kinds, str(len(s.cases))))
    columns = ("rung", "stage", "factor", "anomalies", "share", "kinds", "cases")
    return table(columns, rows, f"Where anomalies against {explanation.reference} begin")


def _anomalies(explanation: Explanation) -> Table:
    columns = ("case, rung", "what", "size", "first step", "shares of the steps", "alone on the reference")
    rows = [(f"{a.case}\n{a.rung}", _what(a), _size(a), _first(a), _shares(a), _alone(a)) for a in _shown(explanation)]
    return table(columns, rows, "The worst of them")


def _shown(explanation: Explanation) -> list[Anomaly]:
    """The worst of each kind that begins at a step, in each case; of these the worst few."""
    worst: dict[tuple[str | None, str, str], Anomaly] = {}
    for a in explanation.anomalies:
        worst.setdefault((a.first, a.kind, a.case), a)
    return list(worst.values())[:SHOWN]


def _what(a: Anomaly) -> str:
    place = " ".join(str(p) for p in (a.band, None if a.track is None else f"line {a.track}") if p is not None)
    frames = "" if a.frame_start is None else f", frames {a.frame_start}-{a.frame_end}"
    return f"{a.kind} {place}".strip() + frames + (f" ({a.events} events)" if a.events > 1 else "")


def _size(a: Anomaly) -> str:
    return f"{_number(a.value, a.unit)} (limit {_number(a.threshold, a.unit)})"


def _first(a: Anomaly) -> str:
    blame = a.factor or "nobody alone"
    return f"{a.first}: {blame}" + (f"; {a.note}" if a.note else "")


def _shares(a: Anomaly) -> str:
    return "\n".join(f"{' + '.join(s.factors)} {_share(s.share)}" for s in a.steps)


def _alone(a: Anomaly) -> str:
    rows = [f"{x.factor} {_number(x.value, a.unit)}" for x in a.alone]
    return "\n".join([*rows, f"interaction {_number(a.interaction, a.unit)}"])


def _share(share: float) -> str:
    return "not measured" if math.isnan(share) else f"{share:.0%}"


def _number(value: float, unit: str) -> str:
    if math.isnan(value):
        return "not measured"
    if unit == "rad":
        return f"{math.degrees(value):.2f}°"
    return f"{value:.3g}" + ("" if unit in ("count", "") else f" {unit}")
