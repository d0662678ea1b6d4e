"""From a run to what the page shows: `view` for the template, `page` for its scripts; both JSON-able.

Pure but for reading the tables; pictures are put in by harness.report.pictures, markup is made by harness.report.html.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from harness.ladder import Explanation, Finding
from harness.ladder.words import size_of
from harness.report.blame import blame_view
from harness.report.finding import WorstFrame
from harness.report.frames import lines_of_frames
from harness.report.glossary import columns, definition_of, label_of
from harness.report.judgement import judgement_view
from harness.report.palette import RungStyle, rung_styles
from harness.report.provenance import provenance
from harness.report.select import frames_of, worst_frames
from harness.report.series import case_series, points_per_trace
from harness.report.summary import case_summary, heat_table, pooled
from harness.report.tree import ladder_view
from harness.run.facts import CaseFact, RunFacts, RungFact, RunLike
from harness.run.numbers import quantity_of_unit, unit_text, with_unit
from harness.run.tables import BANDS

__all__ = ["Content", "build_content"]

CASE_COLUMNS = ("offset_max", "bend", "swing_pp", "jitter", "missing", "coverage")
SERIES_VALUES = 900_000  # over all traces; 2.7 characters each in the file
_MOST_EXACT = 2**53  # of numbers in a script


@dataclass
class Content:
    """What the report says.

    Attributes:
        view: for the template.
        page: for the page's scripts.
        chosen: the frames shown; `page["frames"]` are their views, in the same order, lines still as arrays.
    """

    view: dict[str, Any]
    page: dict[str, Any]
    chosen: list[WorstFrame]


def build_content(run: RunLike, facts: RunFacts, verdict: Any, explanation: Explanation, max_frames: int) -> Content:
    """Read the tables and put everything but pictures together.

    Raises:
        ReportError: the verdict is not what it should be.
    """
    styles = rung_styles(facts.ladder, facts.reference)
    chosen = worst_frames(
        run,
        found=frames_of(explanation.findings),
        cases=list(facts.cases),
        reference=facts.reference,
        grid=facts.grid,
        max_frames=max_frames,
    )
    frames = _frames(run, chosen, facts)
    pool = pooled(run, facts)
    heat = heat_table(pool, facts)
    judgement = judgement_view(verdict)
    cases = _cases(facts, explanation.findings, chosen, case_summary(pool, facts, CASE_COLUMNS), judgement)
    view = {
        "facts": facts,
        "judgement": judgement,
        "figures": _figures(facts, explanation.findings),
        "ladder": ladder_view(facts, styles, explanation.findings),
        "blame": blame_view(explanation, styles),
        "heat": heat,
        "rungs": [_rung_row(r, styles[r.name]) for r in facts.rungs.values()],
        "cases": cases,
        "case_columns": [m for m in columns() if m.name in CASE_COLUMNS],
        "units": {m.name: unit_text(m.quantity, facts.length_unit) for m in columns()},
        "frames": frames,
        "glossary": columns(),
        "provenance": provenance(facts),
        "meta": facts.meta,
    }
    page = {
        "unit": facts.length_unit,
        "kind": facts.grid.frame,
        "edges": dict(zip(BANDS, facts.grid.edges, strict=True)),
        "size": [facts.grid.width, facts.grid.height],
        "reference": facts.ladder.index(facts.reference) if facts.reference in facts.ladder else 0,
        "rungs": view["rungs"],
        "frames": frames,
        "cases": {c["id"]: {"frame": c["frame"], "fps": c["fps"], "frames": c["frames"]} for c in cases},
        "heat": heat["cells"],
        "series": _series(run, facts, [c["id"] for c in cases]),
    }
    return Content(view, page, chosen)


def _frames(run: RunLike, chosen: Sequence[WorstFrame], facts: RunFacts) -> list[dict[str, Any]]:
    lines = lines_of_frames(run, chosen, facts.ladder, facts.reference, facts.grid)
    fps = {c.id: c.fps for c in facts.cases.values()}
    place = {name: i for i, name in enumerate(facts.ladder)}
    parent = {r.name: r.parent for r in facts.rungs.values()}
    return [
        {
            "case": f.case,
            "frame": _exact(f.frame),
            "seconds": round(f.frame / fps[f.case], 3) if fps.get(f.case) else None,
            "rung": place.get(f.rung, 0),
            "parent": place.get(parent.get(f.rung) or "", place.get(facts.reference, 0)),
            "rung_name": f.rung,
            "kind": f.kind,
            "label": label_of(f.kind),
            "definition": definition_of(f.kind),
            "track": f.track,
            "band": f.band,
            "value": with_unit(f.value, quantity_of_unit(f.unit), facts.length_unit),
            "threshold": with_unit(f.threshold, quantity_of_unit(f.unit), facts.length_unit),
            "severity": round(min(f.severity, 99.0), 2),
            "sentence": f.sentence,
            "start": _exact(f.frame_start),
            "end": _exact(f.frame_end),
            "also": list(f.also),
            "pictured": f.pictured,
            "lines": own,
        }
        for f, own in zip(chosen, lines, strict=True)
    ]


def _cases(
    facts: RunFacts,
    findings: Sequence[Finding],
    chosen: Sequence[WorstFrame],
    summary: Mapping[str, Mapping[str, Any]],
    judgement: Mapping[str, Any] | None,
) -> list[dict[str, Any]]:
    """One row per case, worst first; `frame` is the position of its worst shown frame, None where none is shown."""
    rows = []
    for case in facts.cases.values():
        own = [f for f in findings if f.case == case.id]
        shown = next((i for i, f in enumerate(chosen) if f.case == case.id), None)
        rows.append(_case(case, own, shown, summary[case.id], (judgement or {}).get("cases", {}).get(case.id)))
    return sorted(rows, key=lambda r: (-r["severity"], r["frame"] is None, r["frame"] or 0, r["id"]))


def _case(
    case: CaseFact, own: Sequence[Finding], shown: int | None, summary: Mapping[str, Any], status: str | None
) -> dict[str, Any]:
    worst = own[0] if own else None
    kinds = Counter(f.measure for f in own)
    return {
        "id": case.id,
        "frames": case.frames,
        "fps": case.fps,
        "seconds": case.seconds,
        "tags": list(case.tags),
        "lossy": case.lossy,
        "status": status,
        "severity": min(worst.severity, 99.0) if worst else 0.0,
        "rung": worst.rung if worst else "",
        "findings": [f"{count} {label_of(kind)}" for kind, count in kinds.most_common()],
        "metrics": summary,
        "frame": shown,
    }


def _exact(number: int) -> int | str:
    """A frame's number as a script can hold it without rounding it."""
    return number if abs(number) <= _MOST_EXACT else str(number)


def _figures(facts: RunFacts, findings: Sequence[Finding]) -> list[dict[str, str]]:
    """The run in four numbers; findings are those of the explanation, one count on the whole page."""
    status = Counter[str](r.status for r in facts.rungs.values())
    frames = sum(c.frames for c in facts.cases.values())
    seconds = sum(c.seconds for c in facts.cases.values())
    length = f"{seconds / 60:.1f} min" if seconds >= 60 else f"{seconds:.1f} s"
    kinds = Counter(f.measure for f in findings)
    worst = findings[0] if findings else None
    trouble = [f"{status[s]} {word}" for s, word in (("crashed", "crashed"), ("not_run", "not run")) if status[s]]
    return [
        {"value": str(len(facts.cases)), "label": "cases" if len(facts.cases) != 1 else "case",
         "detail": f"{frames:,}".replace(",", " ") + f" frame{'s' if frames != 1 else ''}, {length}"},
        {"value": str(len(facts.rungs)), "label": "rungs" if len(facts.rungs) != 1 else "rung",
         "detail": ", ".join(trouble) or "all ran"},
        {"value": str(len(findings)), "label": "findings" if len(findings) != 1 else "finding",
         "detail": ", ".join(f"{n} {label_of(k)}" for k, n in kinds.most_common(3)) or "nothing over a threshold"},
        {"value": size_of(worst.value, worst.unit) if worst else "–",
         "label": f"worst: {label_of(worst.measure)}" if worst else "worst",
         "detail": f"{worst.rung}, {worst.case}" if worst else "nothing over a threshold"},
    ]  # fmt: skip


def _rung_row(rung: RungFact, style: RungStyle) -> dict[str, Any]:
    return {
        "name": rung.name,
        "parent": rung.parent,
        "factors": list(rung.factors),
        "status": rung.status,
        "reason": rung.reason,
        "colour": style.colour,
        "dash": style.dash,
        "stroke": style.stroke,
    }


def _series(run: RunLike, facts: RunFacts, ordered: Sequence[str]) -> dict[str, Any]:
    """Time series of the worst cases first, until the budget is spent."""
    keys = run.table("line_metrics").filter(pl.col("reference") == facts.reference, pl.col("track").is_not_null())
    traces = dict(
        keys.select("case", "rung", "track", "band")
        .unique()
        .group_by("case")
        .len()
        .collect(engine="streaming")
        .iter_rows()
    )
    each = points_per_trace(sum(traces.values()), SERIES_VALUES)
    by_id = facts.cases
    found: dict[str, Any] = {}
    spent = 0
    for name in ordered:
        case = by_id[name]
        spent += traces.get(name, 0) * min(each, case.frames)
        if spent > SERIES_VALUES and found:
            break
        if name in traces:
            found[name] = case_series(
                run,
                name,
                frames=case.frames,
                fps=case.fps or 1.0,
                rungs=facts.ladder,
                reference=facts.reference,
                max_points=each,
            )
    return found
