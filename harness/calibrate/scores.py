"""How near every version came to every limit: 0 is as good as can be, 1 is at the limit, above it fails.

A score is |number - best| / |limit - best| of a required rule of scope `each` in one case on its worst rung, so rules
of other units and directions are on one scale. A count whose limit is 0 has the scores 0 and infinity. Of what is
better the more there is (lines, reach) it is limit / number.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.errors import UsageError
from harness.gate.policy import Policy, Rule
from harness.gate.verdict import RuleOutcome, RungOutcome, Status, Verdict
from harness.run.units import ROUNDING

__all__ = ["Scores", "best_of", "over", "score_of", "scores_of"]

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Scores:
    """Scores of several versions on the same cases.

    Attributes:
        rules: the rules that were scored, each with its policy entry.
        drives: names; a case without one is its own drive.
        versions: names.
        of_rule: float64 [versions, rules, drives]: the worst case and rung of a drive; NaN where there is no number.
        verdicts: what the gate said of each version.
    """

    rules: tuple[Rule, ...]
    drives: tuple[str, ...]
    versions: tuple[str, ...]
    of_rule: Floats
    verdicts: tuple[Status, ...]

    @property
    def of_drive(self) -> Floats:
        """float64 [versions, drives]: the worst rule."""
        return _largest(self.of_rule, axis=1)

    @property
    def of_version(self) -> Floats:
        """float64 [versions]: the worst rule and drive."""
        return _largest(self.of_drive, axis=1)


def scores_of(verdicts: Sequence[Verdict], policy: Policy) -> Scores:
    """Scores of verdicts by one policy.

    Args:
        verdicts: of several versions on the same cases.
        policy: the one they were judged by.

    Raises:
        UsageError: fewer than two versions, other cases, or no rule to score.
    """
    if len(verdicts) < 2:
        raise UsageError(
            "one run says nothing of how versions differ",
            where="--calibrate",
            remedy="give runs of two or more good versions: training seeds, rebuilds, releases",
        )
    drives = _same_drives(verdicts)
    by_id = {rule.id: rule for rule in policy.rules}
    scored = [by_id[r.id] for r in verdicts[0].rules if r.required and r.scope == "each" and r.compare == "limit"]
    if not scored:
        raise UsageError(
            "no rule to calibrate: none is required, of scope each and against a limit", where=policy.name,
            remedy="a population rule states its own error, confidence",
        )  # fmt: skip
    names = tuple(dict.fromkeys(drives.values()))
    found = np.full((len(verdicts), len(scored), len(names)), math.nan)
    for v, verdict in enumerate(verdicts):
        for r, rule in enumerate(scored):
            outcome = verdict.rule(rule.id)
            for d, drive in enumerate(names):
                own = {case for case, of in drives.items() if of == drive}
                found[v, r, d] = _worst(rule, outcome, own) if outcome is not None else math.nan
    return Scores(
        tuple(scored), names, tuple(str(v.run.get("path", "")) for v in verdicts), found,
        tuple(v.status for v in verdicts),
    )  # fmt: skip


def _same_drives(verdicts: Sequence[Verdict]) -> dict[str, str]:
    """Case -> drive, which all runs must share."""
    told = [
        {str(c["id"]): (c.get("digest"), c.get("drive") or c["id"]) for c in v.run["meta"]["cases"]} for v in verdicts
    ]
    for other, verdict in zip(told[1:], verdicts[1:], strict=True):
        if other != told[0]:
            odd = sorted(set(other.items()) ^ set(told[0].items()))[0][0]
            raise UsageError(
                f"the runs have other cases, {odd} for one", where=str(verdict.run.get("path", "")),
                remedy="replay the same cases with every version",
            )  # fmt: skip
    return {case: str(drive) for case, (_, drive) in told[0].items()}


def _worst(rule: Rule, outcome: RuleOutcome, cases: set[str]) -> float:
    found = [_score(rule, rung, c.value) for rung in outcome.rungs for c in rung.cases if c.case in cases]
    known = [s for s in found if not math.isnan(s)]
    return max(known, default=math.nan)


def _score(rule: Rule, rung: RungOutcome, value: float) -> float:
    return math.inf if rung.status in (Status.CRASHED, Status.NONFINITE) else score_of(rule, value)


def score_of(rule: Rule, value: float) -> float:
    """Score of a number in the limit's unit; NaN for NaN."""
    if math.isinf(rule.spec.best):  # the more the better: a number below the limit fails
        return math.nan if math.isnan(value) else rule.limit.value / value if value > 0 else math.inf
    best = best_of(rule)
    off, allowed = abs(value - best), abs(rule.limit.value - best)
    if math.isnan(off):
        return math.nan
    if allowed == 0:
        return 0.0 if off == 0 else math.inf
    return off / allowed


def over(scores: Floats) -> NDArray[np.bool_]:
    """Which scores are of numbers that fail: more than 1 but for rounding, as the gate has it; NaN is none."""
    return np.asarray(scores > 1 + ROUNDING)


def best_of(rule: Rule) -> float:
    """The measure's best value in the limit's unit: 0 but for shares; infinite where more is always better."""
    return rule.spec.best * (100.0 if rule.limit.unit == "%" else 1.0)


def _largest(values: Floats, axis: int) -> Floats:
    found: Floats = np.where(np.isnan(values), -np.inf, values).max(axis=axis)
    return np.where(np.isneginf(found), np.nan, found)
