"""An explanation as the report shows it: who is to blame, and how each finding came about, step by step."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from harness.ladder import Explanation, Finding, Step, Suspect
from harness.ladder.view import headline
from harness.ladder.words import broken_by, place_of, sentence, size_of
from harness.report.palette import RungStyle
from harness.run.catalogue import definition_of, label_of

__all__ = ["MAX_FINDINGS", "blame_view"]

MAX_FINDINGS = 40


def blame_view(explanation: Explanation, styles: Mapping[str, RungStyle]) -> dict[str, Any]:
    """The view of an explanation.

    Returns:
        `summary` (one sentence), `suspects`, `findings` (worst first, at most MAX_FINDINGS), `left_out` (how many
        more), `differences` of the two pipelines, `notes`.
    """
    findings = explanation.findings
    return {
        "summary": headline(explanation),
        "suspects": [_suspect(s) for s in explanation.suspects],
        "findings": [_finding(f, styles) for f in findings[:MAX_FINDINGS]],
        "left_out": max(0, len(findings) - MAX_FINDINGS),
        "differences": list(explanation.differences),
        "notes": list(explanation.notes),
    }


def _suspect(suspect: Suspect) -> dict[str, Any]:
    factors = " + ".join(suspect.factors) or "no named factor"
    return {
        "rung": suspect.rung,
        "stage": suspect.stage or "none alone",
        "blamed": suspect.factor or factors,
        "cause": suspect.cause,
        "count": suspect.count,
        "share": suspect.share,
        "kinds": ", ".join(f"{n} {label_of(kind)}" for kind, n in suspect.kinds.items()),
        "cases": list(suspect.cases),
        "worst": f"{suspect.worst:.1f}×",
    }


def _finding(f: Finding, styles: Mapping[str, RungStyle]) -> dict[str, Any]:
    steps = [_step(s, styles, f.unit) for s in f.steps]
    return {
        "case": f.case,
        "frame": f.frame_start if f.frame is None else f.frame,
        "label": f"{f.statistic} {label_of(f.measure)}".strip(),
        "definition": definition_of(f.measure),
        "sentence": sentence(f),
        "place": place_of(f),
        "band": f.band,
        "rung": f.rung,
        "value": size_of(f.value, f.unit),
        "threshold": size_of(f.threshold, f.unit),
        "breaches": [broken_by(b) for b in _by_rule(f)],
        "first": f.first,
        "blamed": f.cause or f.factor or "nothing alone",
        "note": f.note,
        "steps": steps,
        "widths": _widths([s["share"] for s in steps]),
        "alone": [f"{'without ' if a.taken_out else ''}{a.factor} {size_of(a.value, f.unit)}" for a in f.alone],
        "interaction": "" if math.isnan(f.interaction) else size_of(f.interaction, f.unit),
    }


def _by_rule(finding: Finding) -> list[Any]:
    return list({b.rule: b for b in finding.breaches}.values())


def _step(step: Step, styles: Mapping[str, RungStyle], unit: str) -> dict[str, Any]:
    style = styles.get(step.rung)
    share = step.share if math.isfinite(step.share) else None
    return {
        "rung": step.rung,
        "factors": " + ".join(step.factors) or "no named factor",
        "colour": style.colour if style else "ink",
        "share": share,
        "text": "not measured" if share is None else f"{share * 100:.0f} %".replace("-", "−"),
        "added": size_of(step.added, unit),
        "value": size_of(step.value, unit),
    }


def _widths(shares: Sequence[float | None]) -> list[float]:
    """Percent of the bar each step gets: only growth is drawn, and more than the whole is squeezed into it."""
    grown = [max(0.0, s or 0.0) for s in shares]
    whole = max(1.0, sum(grown))
    return [round(100 * g / whole, 1) for g in grown]
