"""The first screen in words: what is wrong, why, whose step it is, how sure that is, and how to replay just that.

Every sentence is a number or a name that the run, the verdict or the explanation holds; where none of them knows, the
sentence says so.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from harness.gate.stats import cases_needed, share_bounds
from harness.gate.verdict import Status
from harness.ladder import Explanation, Finding
from harness.ladder.view import headline as summary
from harness.ladder.words import blamed, place_of, size_of
from harness.report.mismatch import answer_of
from harness.run.catalogue import label_of, noise_of
from harness.run.facts import RunFacts
from harness.run.rungs import engine_of
from harness.summary.again import again
from harness.summary.blocks import Block
from trueline._text import counted

__all__ = ["again_of", "broken_by", "headline_view", "how_sure", "stage_of", "worst_finding"]

CONFIDENCE = 0.95
SHARE = 0.1  # of all drives: what a suite without a fault should be able to exclude


def worst_finding(explanation: Explanation) -> Finding | None:
    """The worst of those that break a required rule, else the worst; of values that are not finite, what one can see.

    A limit that met such values belongs to the finding that has them, and there is no line to draw of it: the worst
    line that the same step moves is shown in its place, where it moves one.
    """
    found = explanation.findings
    deciding = [f for f in found if any(b.required for b in f.breaches)]
    worst = next(iter(deciding or found), None)
    if worst is None or worst.measure != "nonfinite" or worst.stage is None:
        return worst
    drawn = (f for f in found if f.track is not None and (f.stage, f.factor) == (worst.stage, worst.factor))
    return next(drawn, worst)


def headline_view(
    facts: RunFacts,
    judgement: Mapping[str, Any] | None,
    explanation: Explanation,
    raw: Mapping[str, Any] | None,
    mismatch: dict[str, Any],
) -> dict[str, Any]:
    """`what`, `why`, `inputs`, `whose`, `sure` (sentences), `again` (a command) and `new` of the worst finding.

    Args:
        facts: the run.
        judgement: the verdict as the report shows it.
        explanation: of the run.
        raw: verdict.json.
        mismatch: what the input tensors differ in (`mismatch_view`).
    """
    worst = worst_finding(explanation)
    return {
        "what": _what(worst, judgement, explanation),
        "why": _why(worst, judgement),
        "inputs": answer_of(worst, mismatch),
        "whose": whose(worst, raw),
        "sure": list(how_sure(facts, explanation, worst, raw)),
        "again": again_of(worst, facts.meta) if worst is not None else "",
        "new": _new(raw),
    }


def _what(worst: Finding | None, judgement: Mapping[str, Any] | None, explanation: Explanation) -> str:
    if worst is None:
        return (judgement or {}).get("detail") or summary(explanation)
    what = f"{worst.statistic} {label_of(worst.measure)}".strip()
    place = place_of(worst)
    return (
        f"{what} {size_of(worst.value, worst.unit)}, limit {size_of(worst.threshold, worst.unit)}{broken_by(worst)}: "
        f"case {worst.case}{', ' + place if place else ''}, on {worst.rung}"
    )


def broken_by(worst: Finding) -> str:
    """The required rule that its own number breaks, else one of another measure that is broken in the same place."""
    required = [b for b in worst.breaches if b.required]
    own = next((b for b in required if b.measure == worst.measure), None)
    if own is not None:
        return f", breaks rule {own.rule}"
    return f", rule {required[0].rule} is broken with it" if required else ""


def _why(worst: Finding | None, judgement: Mapping[str, Any] | None) -> str:
    if worst is not None:
        return f"{blamed(worst)}."
    detail = (judgement or {}).get("detail")
    return f"unknown: {detail}" if detail and (judgement or {}).get("status") != Status.PASS else "nothing to explain."


def stage_of(finding: Finding) -> str:
    """The stage whose step it is; of a finding that is blamed on none the stage at which it begins, if that is one."""
    return finding.stage or ""


def whose(worst: Finding | None, raw: Mapping[str, Any] | None) -> str:
    """The team of the stage that is blamed, by `[teams]` of the policy."""
    if worst is None:
        return "nobody's"
    stage = stage_of(worst)
    if not stage:
        return "unknown: no single step is to blame"
    teams = ((raw or {}).get("policy") or {}).get("teams") or {}
    if stage in teams:
        return f"{teams[stage]} ({stage})"
    return f"the {stage} step; [teams] of the policy names nobody for it"


def again_of(finding: Finding, meta: Mapping[str, Any]) -> str:
    """The command that replays just the frames of a finding on its rung and the rungs before it."""
    stretch = None
    if finding.frame_start is not None and finding.frame_end is not None:
        stretch = (finding.frame_start, finding.frame_end)
    rungs = tuple(dict.fromkeys(name for name in (*(s.rung for s in finding.steps), finding.rung)))
    block = Block(
        Status.FAIL, True, "", finding.first, finding.stage, "", (), rungs, (finding.case,), {finding.case: stretch}, 1
    )
    return again(block, meta)


def how_sure(
    facts: RunFacts, explanation: Explanation, worst: Finding | None, raw: Mapping[str, Any] | None
) -> Iterator[str]:
    """How far the drives that were seen speak for others, what the noise floor is, what the gate could not decide."""
    drives = {c.drive or c.id for c in facts.cases.values()}
    if worst is not None:
        yield _of_drives(facts, explanation, worst, len(drives))
        yield _of_noise(worst, raw)
    elif drives:
        upper = share_bounds(0, len(drives), CONFIDENCE).upper
        needed = cases_needed(SHARE, CONFIDENCE)
        more = f"; {needed} such drives would exclude {SHARE:.0%}" if needed > len(drives) else ""
        yield (
            f"no drive of {len(drives)} is wrong: a fault in up to {upper:.0%} of all drives would go unseen "
            f"({CONFIDENCE:.0%}){more}"
        )
    for rule in (raw or {}).get("rules", ()):
        if rule.get("required", True) and rule.get("verdict") == Status.INCONCLUSIVE:
            reason = next((r["reason"] for r in rule.get("rungs", ()) if r.get("verdict") == Status.INCONCLUSIVE), "")
            yield f"undecided: {rule['id']}, {reason or rule.get('reason', '')}"


def _of_drives(facts: RunFacts, explanation: Explanation, worst: Finding, drives: int) -> str:
    """In how many drives the same step is wrong in the same way, and what that bounds."""
    same = [
        f for f in explanation.findings if (f.first, f.factor, f.measure) == (worst.first, worst.factor, worst.measure)
    ]
    wrong = len({facts.cases[f.case].drive or f.case for f in same if f.case in facts.cases})
    bounds = share_bounds(wrong, drives, CONFIDENCE)
    needed = cases_needed(SHARE, CONFIDENCE)
    return (
        f"the same in {wrong} of {counted(drives, 'drive')}: between {bounds.lower:.0%} and "
        f"{bounds.upper:.0%} of drives like these ({CONFIDENCE:.0%} each side); once it is repaired, {needed} drives "
        f"without it would "
        f"exclude {SHARE:.0%}"
    )


def _of_noise(worst: Finding, raw: Mapping[str, Any] | None) -> str:
    """How the finding compares with the largest floor of its engine, under whichever pipeline it was measured."""
    engine, name = engine_of(worst.rung), noise_of(worst.measure)
    told = ((raw or {}).get("floors") or {}).items()
    own = [floors[name] for rung, floors in told if engine_of(rung) == engine and name in floors]
    if not own:
        return "the engine's noise floor was not measured (trueline replay --floor)"
    floor = max(own)
    said = f"noise floor of {engine}: {size_of(float(floor), worst.unit)}"
    return f"{said}, {abs(worst.value) / floor:.0f} times smaller" if floor else said


def _new(raw: Mapping[str, Any] | None) -> str:
    """What the verdict says since its baseline."""
    baseline = (raw or {}).get("baseline")
    if not baseline:
        return ""
    worse = [
        r["id"]
        for r in (raw or {}).get("rules", ())
        if r.get("compare") == "baseline" and r.get("verdict") == Status.FAIL
    ]
    named = baseline.get("name") or baseline.get("path") or "the baseline"
    return f"against {named}: " + (f"worse by {', '.join(worse)}" if worse else "no rule found it worse")
