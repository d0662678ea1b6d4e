"""A comparison as one HTML file: the answer, what is new, measures in pairs, frames side by side, what differs.

Styles are the report's; there is no script but that of the filter. Pictures are those of the report's first screen, of
both runs at one frame.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup

from harness.compare.build import Seen
from harness.compare.model import KINDS, Change, Comparison, Pairing
from harness.compare.network import NetworkChange
from harness.compare.text import (
    NODE_COLUMNS,
    SHOWN,
    change_cells,
    measure_cells,
    network_sentence,
    node_cells,
    told_cases,
)
from harness.errors import ReportError
from harness.report.clip import lines_of_case
from harness.report.finding import WorstFrame
from harness.report.first_picture import first_picture
from harness.report.html import environment_of, style_text
from harness.report.locate import placed
from harness.report.mark import Mark, mark_of
from harness.report.select import frames_of
from harness.run.recordings import Recordings
from trueline._drafts import replacing

__all__ = ["write_page"]

MAX_PAIRS = 8


def write_page(comparison: Comparison, seen: Sequence[Seen], path: Path, cases: Sequence[Path] = ()) -> Path:
    """Write the page and return its path.

    Args:
        comparison: of the runs.
        seen: the runs.
        path: the file.
        cases: where the cases lie now, if they are not where they were.

    Raises:
        ReportError: it cannot be written.
    """
    environment = environment_of("harness.compare")
    text = environment.get_template("compare.html.j2").render(
        names=comparison.names,
        policy=comparison.policy,
        pairings=[
            _view(comparison, p, seen[0], s, path, cases) for p, s in zip(comparison.pairings, seen[1:], strict=True)
        ],
        kinds=KINDS,
        styles=Markup(
            style_text(("base.css", "report.css")) + (Path(__file__).parent / "templates" / "compare.css").read_text()
        ),
        script=Markup((Path(__file__).parent / "templates" / "compare.js").read_text()),
    )
    try:
        with replacing(path) as draft:
            draft.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ReportError(
            f"cannot write the page: {error.strerror}", where=str(path), remedy="choose a file in a folder that exists"
        ) from error
    return path


def _view(
    comparison: Comparison, pairing: Pairing, first: Seen, second: Seen, path: Path, cases: Sequence[Path]
) -> dict[str, Any]:
    return {
        "pairing": pairing,
        "told_cases": told_cases(pairing),
        "measures": [(r.answer, measure_cells(r, comparison)) for r in pairing.measures],
        "changes": [
            {"kind": c.kind, "cells": change_cells(c), "links": [_link(s, c, path) for s in (first, second)]}
            for c in pairing.changes
        ],
        "pairs": _pairs(pairing, first, second, cases),
        "network": _network(pairing.network),
    }


def _network(change: NetworkChange) -> dict[str, Any]:
    """Strip and table of nodes, and the plan; bars of the strip are shares of the largest."""
    most = max((abs(c) for n in change.nodes for c in (n.first, n.second) if c), default=1.0)
    return {
        "sentence": network_sentence(change) if change.whole is not None else "",
        "strip": [((n.first or 0) / most, (n.second or 0) / most, " ".join(node_cells(n))) for n in change.nodes],
        "most": f"{most:.3g}",
        "columns": NODE_COLUMNS,
        "rows": [node_cells(n) for n in change.ranked()[:SHOWN]],
        "plan": change.plan,
        "remarks": change.remarks,
    }


def _link(seen: Seen, change: Change, path: Path) -> str:
    """The run's report at the finding, from where the page lies; empty where the run has none."""
    report = Path(seen.run.path) / "report.html"
    if not report.exists():
        return ""
    from urllib.parse import quote, urlencode

    named = {"case": change.case, "rung": change.rung} | ({} if change.frame is None else {"frame": str(change.frame)})
    return f"{quote(os.path.relpath(report, Path(path).resolve().parent))}#{urlencode(named, quote_via=quote)}"


def _pairs(pairing: Pairing, first: Seen, second: Seen, cases: Sequence[Path]) -> list[dict[str, Any]]:
    """The same frame of both runs for the findings that changed most."""
    changed = sorted((c for c in pairing.changes if c.kind != "same"), key=lambda c: c.measure == "nonfinite")
    wanted = changed[:MAX_PAIRS] or list(pairing.changes[:1])  # of values that are not finite there is no line to see
    shown: list[dict[str, Any]] = []
    for change in wanted:
        owner = first if change.kind in ("gone", "better") else second
        found = _frame(owner, change)
        if found is None:
            continue
        own = _picture(owner, found, change, cases, f"picture-{len(shown)}")
        other = second if owner is first else first
        twin = _picture(other, found, None, cases, f"twin-{len(shown)}", own)
        sides = [own, twin] if owner is first else [twin, own]
        if any(sides):
            shown.append({"change": change, "frame": found.frame, "sides": sides})
    return shown


def _frame(seen: Seen, change: Change) -> WorstFrame | None:
    same = [
        f
        for f in placed(seen.run, seen.explanation.findings, seen.facts.reference)
        if (f.case, f.measure) == (change.case, change.measure) and change.band in (None, f.band)
    ]
    return next(iter(frames_of(same)), None)


def _picture(
    seen: Seen, found: WorstFrame, change: Change | None, cases: Sequence[Path], id: str,
    twin: Mapping[str, Any] | None = None,
) -> Mapping[str, Any] | None:  # fmt: skip
    """The frame in one run, with the strokes and the size of a change it has, or without; None where it has no rung.

    What is drawn larger is what it is in its twin.
    """
    if found.rung not in seen.facts.rungs:
        return None
    rows = lines_of_case(seen.run, found.case, seen.facts.ladder)
    mark, badge = Mark(), ""
    if change is not None:
        mark = mark_of(found, rows, seen.facts.reference, seen.facts.grid)
        size = change.first if change.kind in ("gone", "better") else change.second
        badge = f"{change.label} {size}".strip()
    view = {
        "mark": mark.to_json(), "badge": badge, "case": found.case, "frame": found.frame, "index": None, "id": id,
        "inset": twin and twin["inset"], "times": twin and twin["times"],
    }  # fmt: skip
    return first_picture(found, view, rows, seen.facts, Recordings(seen.run.meta, seen.run.path, cases))
