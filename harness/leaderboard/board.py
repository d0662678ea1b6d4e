"""Which candidates may be chosen, which of them no other one dominates, and whether one is best.

Only candidates that pass every required rule, follow the picture and crashed nowhere are on the front: no other one of
them is as good in every column and better in one, by the means. That is a drawing, not a decision. *Best* is a
candidate of which the drives show that it is better than every other one that may be chosen, in a column at least, and
worse in none: in more of them than chance would have it, by the sign test. All comparisons of one leaderboard together
are wrong with a chance of 5 % at most (Bonferroni).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from harness.gate import Policy
from harness.leaderboard.candidate import COLUMNS, Candidate, read_candidates
from harness.leaderboard.column import compare, drives_needed
from harness.run.folder import Run
from harness.run.json import plain
from harness.sweep import Sweep

__all__ = ["Board", "leaderboard"]

ERROR = 0.05


@dataclass(frozen=True)
class Board:
    """All candidates, in the order they were given.

    Attributes:
        candidates: what is known of each.
        unit: of the columns, m or px.
        confidence: of every comparison.
    """

    candidates: Sequence[Candidate]
    unit: str
    confidence: float

    @property
    def eligible(self) -> list[Candidate]:
        """Those that may be chosen."""
        return [c for c in self.candidates if not c.barred]

    def on_front(self, one: Candidate) -> bool:
        """Whether it may be chosen and no other one of those dominates it, by the means."""
        return not one.barred and not any(_dominates(other, one) for other in self.eligible if other is not one)

    @property
    def best(self) -> tuple[Candidate | None, str]:
        """The best candidate, and why it is; or None, and why there is none."""
        eligible = self.eligible
        if not eligible:
            return None, "no candidate is best: none passes every required rule"
        if not all(c.eyes for c in eligible):
            return None, (
                "no candidate is best: nothing here would tell a network that draws the same lines on every road; "
                "give a policy that asks for truth, or sweeps"
            )
        if len(eligible) == 1:
            return eligible[0], f"{eligible[0].name} is the only one that passes"
        for one in eligible:
            if all(self._beats(one, other) for other in eligible if other is not one):
                return one, f"{one.name} is best: better than every other one that passes, and in no column worse"
        needed, have = (
            drives_needed(self.confidence),
            max(len(c.columns[n].by_drive) for c in eligible for n in COLUMNS),
        )
        if have < needed:
            return None, f"no candidate is best: {have} drives cannot show it, {needed} that agree could"
        return None, "no candidate is best: the drives do not show one to be better than all others in no column worse"

    def _beats(self, one: Candidate, other: Candidate) -> bool:
        sides = [compare(one.columns[n], other.columns[n], self.confidence) for n in self._known]
        return "better" in sides and "worse" not in sides and "unknown" not in sides

    @property
    def _known(self) -> list[str]:
        """Columns that any candidate that passes has; one that lacks such a column cannot beat another."""
        return [name for name in COLUMNS if any(c.columns[name].by_drive for c in self.eligible)]

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        best, why = self.best
        told = {
            "unit": self.unit,
            "confidence": self.confidence,
            "best": best.name if best is not None else None,
            "why": why,
            "candidates": [self._candidate_json(c) for c in self.candidates],
        }
        found: dict[str, Any] = plain(told)
        return found

    def _candidate_json(self, one: Candidate) -> dict[str, Any]:
        columns = {}
        for name, column in one.columns.items():
            best_drive, worst_drive = column.ends
            columns[name] = {
                "mean": column.mean,
                "best_drive": best_drive,
                "worst_drive": worst_drive,
                "by_drive": dict(column.by_drive),
                "why": column.why,
            }
        worst = (one.sweep.meta.get("worst") or None) if one.sweep is not None else None
        return {
            "name": one.name,
            "run": str(one.run.path),
            "sweep": str(one.sweep.path) if one.sweep is not None else None,
            "verdict": one.verdict.status.value,
            "barred": one.barred,
            "front": self.on_front(one),
            "columns": columns,
            "worst_bend": worst,
        }


def leaderboard(runs: Sequence[Run], sweeps: Sequence[Sweep] = (), policy: Policy | None = None) -> Board:
    """Candidates side by side.

    Args:
        runs: one for each candidate, on the same cases.
        sweeps: of the same models; empty: the robust column is the ladder's gap.
        policy: that every run is judged by; None: the finding thresholds.

    Raises:
        UsageError: the runs are of other recordings or units, or a sweep is of none of them.
        PolicyError, RunError, UnitMismatch: a run cannot be judged.
    """
    found = read_candidates(runs, sweeps, policy)
    pairs = max(1, len(found) * (len(found) - 1) // 2) * len(COLUMNS)
    return Board(found, runs[0].unit, 1 - ERROR / pairs)


def _dominates(one: Candidate, other: Candidate) -> bool:
    """As good in every column and better in one, by the means; a column that either lacks does not count for it."""
    pairs = [(one.columns[n].mean, other.columns[n].mean) for n in COLUMNS]
    if any(math.isnan(a) and not math.isnan(b) for a, b in pairs):
        return False
    known = [(a, b) for a, b in pairs if not (math.isnan(a) or math.isnan(b))]
    return bool(known) and all(a <= b for a, b in known) and any(a < b for a, b in known)
