"""From a run to what the page shows: `view` for the template, `page` for its scripts; both JSON-able.

Pure but for reading the tables; clips and pictures are made by harness.report.clips, markup by harness.report.html.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.ladder import Explanation, Finding, Step
from harness.ladder.words import size_of
from harness.report.blame import blame_view
from harness.report.clips import exact
from harness.report.finding import WorstFrame
from harness.report.glossary import columns, definition_of, label_of
from harness.report.headline import headline_view, worst_finding
from harness.report.judgement import STATUSES, judgement_view
from harness.report.locate import placed
from harness.report.mismatch import answer_of
from harness.report.palette import RungStyle, rung_styles
from harness.report.plain import as_mapping
from harness.report.provenance import provenance
from harness.report.select import frames_of, worst_frames
from harness.report.summary import case_summary, heat_table, pooled, threshold_of
from harness.report.tensors import inputs_of
from harness.report.tree import ladder_view
from harness.run.catalogue import find_measure
from harness.run.facts import CaseFact, RunFacts, RungFact, RunLike
from harness.run.numbers import quantity_of_unit, unit_text, with_unit
from harness.run.tables import BANDS

__all__ = ["Content", "build_content"]

CASE_COLUMNS = ("offset_max", "bend", "swing_pp", "jitter", "missing", "coverage")
MAX_FINDINGS = 80  # beside the worst of each case


@dataclass
class Content:
    """What the report says.

    Attributes:
        view: for the template.
        page: for the page's scripts.
        chosen: the frames shown; `page["shown"]` are their views, in the same order.
        ordered: the cases, worst first.
    """

    view: dict[str, Any]
    page: dict[str, Any]
    chosen: list[WorstFrame]
    ordered: list[CaseFact]


def build_content(
    run: RunLike,
    facts: RunFacts,
    verdict: Any,
    explanation: Explanation,
    mismatch: dict[str, Any],
    network: dict[str, Any],
) -> Content:
    """Read the tables and put everything but clips and pictures together.

    Args:
        run: its tables.
        facts: of the run.
        verdict: what the gate said, None for nothing.
        explanation: of the run.
        mismatch: what the input tensors differ in (`mismatch_view`).
        network: layers and plan (`network_view`).

    Raises:
        ReportError: the verdict is not what it should be.
    """
    styles = rung_styles(facts.ladder, facts.reference)
    raw = as_mapping(verdict, "verdict")
    first = worst_finding(explanation)
    found = explanation.findings if first is None else (first, *(f for f in explanation.findings if f is not first))
    chosen = worst_frames(
        run,
        found=frames_of(placed(run, found, facts.reference)),
        cases=list(facts.cases),
        reference=facts.reference,
        grid=facts.grid,
        most=MAX_FINDINGS,
    )
    shown = _shown(chosen, facts, mismatch)
    inputs = inputs_of(facts)
    pool = pooled(run, facts)
    judgement = judgement_view(verdict)
    heat = heat_table(pool, facts, (judgement or {}).get("judged", {}))
    cases = _cases(facts, explanation.findings, chosen, case_summary(pool, facts, CASE_COLUMNS), judgement)
    findings = [f for f in shown if f["finding"]]
    view = {
        "facts": facts,
        "judgement": judgement,
        "headline": headline_view(facts, judgement, explanation, raw, mismatch),
        "figures": _figures(facts, explanation.findings),
        "ladder": ladder_view(facts, styles, explanation.findings),
        "blame": blame_view(explanation, styles),
        "mismatch": mismatch,
        "told_network": network,
        "numeric": any(f.stage == "numerics" for f in explanation.findings),
        "differences": _differences(facts),
        "heat": heat,
        "rungs": [_rung_row(r, styles[r.name], inputs) for r in facts.rungs.values()],
        "cases": cases,
        "case_tags": sorted({tag for c in cases for tag in c["tags"]}),
        "case_kinds": sorted({kind for c in cases for kind in c["kinds"]}),
        "case_columns": [m for m in columns() if m.name in CASE_COLUMNS],
        "units": {m.name: unit_text(m.quantity, facts.length_unit) for m in columns()},
        "findings": findings,
        "glossary": columns(),
        "provenance": provenance(facts),
        "meta": facts.meta,
    }
    page = {
        "unit": facts.length_unit,
        "kind": facts.grid.frame,
        "edges": dict(zip(BANDS, facts.grid.edges, strict=True)),
        "limits": _limits(facts),
        "size": [facts.grid.width, facts.grid.height],
        "reference": facts.ladder.index(facts.reference) if facts.reference in facts.ladder else 0,
        "rungs": view["rungs"],
        "findings": findings,
        "shown": shown,
        "firsts": {c.id: next((_place(v) for v in shown if v["case"] == c.id), {}) for c in facts.cases.values()},
        "heat": heat["cells"],
        "layers": network["layers"] and network["layers"]["strip"],
        "pages": {},
        "opens": _opens(shown),
    }
    return Content(view, page, chosen, [facts.cases[c["id"]] for c in cases])


def _opens(shown: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
    """What the player opens with; None where there is no case."""
    if not shown:
        return None
    return {"case": shown[0]["case"], "finding": shown[0]["index"], **_place(shown[0])}


def _place(view: Mapping[str, Any]) -> dict[str, Any]:
    """Where the player goes for what is shown: frame, rung, line and band."""
    return {key: view[key] for key in ("frame", "rung", "track", "band")}


def _limits(facts: RunFacts) -> dict[str, dict[str, float]]:
    """From where on a band's offset, bend or swing is a finding, for the plots over time."""
    limits: dict[str, dict[str, float]] = {}
    for name, measure in (("offset", "offset_mean"), ("bend", "bend"), ("swing", "swing_pp"), ("jitter", "jitter")):
        found = {band: threshold_of(find_measure(measure), band, facts.grid) for band in BANDS}
        limits[name] = {band: round(value, 4) for band, value in found.items() if value is not None}
    return limits


def _differences(facts: RunFacts) -> list[dict[str, str]]:
    """The steps and options in which the two pipelines of each input differ."""
    told = []
    for name, pipeline in (facts.meta.get("pipelines") or {}).items():
        for d in pipeline.get("differences", ()):
            sides = {side: "–" if d.get(side) is None else str(d[side]) for side in ("train", "deploy")}
            told.append(
                {"input": str(name), "step": str(d.get("step") or "–"), "option": str(d.get("option") or "–"), **sides}
            )
    return told


def _shown(chosen: Sequence[WorstFrame], facts: RunFacts, mismatch: dict[str, Any]) -> list[dict[str, Any]]:
    place = {name: i for i, name in enumerate(facts.ladder)}
    parent = {r.name: r.parent for r in facts.rungs.values()}
    counted = 0
    views: list[dict[str, Any]] = []
    for f in chosen:
        is_finding = bool(f.sentence)
        counted += is_finding
        value = with_unit(f.value, quantity_of_unit(f.unit), facts.length_unit)
        label = label_of(f.kind)
        views.append(
            {
                "index": counted - 1 if is_finding else None,
                "finding": is_finding,
                "number": counted if is_finding else "",
                "badge": _badge(counted, label, value) if is_finding else f"{_badge(0, label, value)}, no finding",
                "case": f.case,
                "frame": exact(f.frame),
                "rung": place.get(f.rung, 0),
                "parent": place.get(parent.get(f.first or f.rung) or "", place.get(facts.reference, 0)),
                "rung_name": f.rung,
                "kind": f.kind,
                "label": label,
                "definition": definition_of(f.kind),
                "track": f.track,
                "band": f.band,
                "value": value,
                "limit": None if math.isnan(f.threshold) else abs(f.threshold),
                "threshold": with_unit(f.threshold, quantity_of_unit(f.unit), facts.length_unit),
                "severity": round(min(f.severity, 99.0), 2),
                "start": exact(f.frame_start),
                "end": exact(f.frame_end),
                "places": [0, 0, 0],
                "also": list(f.also),
                "first": f.first,
                "inputs": answer_of(f, mismatch) if is_finding else [],
                "steps": [_step(s, f.unit) for s in f.steps],
                "mark": {"strokes": [], "at": None},
            }
        )
    return views


def _badge(number: int, label: str, value: str) -> str:
    """`1 bend 0.21 m`: what the label in a picture says."""
    return " ".join(p for p in (str(number or ""), label, value if value != "–" else "") if p)


def _step(step: Step, unit: str) -> dict[str, Any]:
    share = step.share if math.isfinite(step.share) else None
    return {
        "rung": step.rung,
        "factors": " + ".join(step.factors) or "the reference",
        "value": step.value if math.isfinite(step.value) else None,
        "valueText": size_of(step.value, unit),
        "addedText": size_of(step.added, unit),
        "shareText": "–" if share is None else f"{share * 100:.0f} %".replace("-", "−"),
    }


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
        "kinds": [label_of(kind) for kind in kinds],
        "count": len(own),
        "order": STATUSES.index(status) if status in STATUSES else 0,
        "frame": shown,
    }


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


def _rung_row(rung: RungFact, style: RungStyle, inputs: Mapping[str, str]) -> dict[str, Any]:
    return {
        "name": rung.name,
        "parent": rung.parent,
        "factors": list(rung.factors),
        "status": rung.status,
        "reason": rung.reason,
        "colour": style.colour,
        "stroke": style.stroke,
        "input": inputs[rung.name],
        "car": rung.car,
    }
