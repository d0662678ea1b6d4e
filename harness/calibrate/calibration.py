"""`trueline gate --calibrate RUN_A RUN_B ...`: what several good versions say of a policy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from harness.calibrate.drives import chance_on_drives
from harness.calibrate.limits import SuggestedLimit, suggested_limits
from harness.calibrate.scores import over, scores_of
from harness.calibrate.suite import Chance, chance_on_suite, versions_needed
from harness.gate import Policy, judge
from harness.run.facts import RunLike
from harness.run.json import plain

__all__ = ["Calibration", "calibrate"]

_LEAST_DRIVES = 3


@dataclass(frozen=True)
class Calibration:
    """What was found.

    Attributes:
        policy: its name.
        versions: paths of the runs.
        failing: versions that break a required rule of scope `each` somewhere; they were given as good.
        suite: chance that the next good version fails on these cases.
        versions_needed: versions in all that would show it to be at most 10 %.
        drives: drives of the suite.
        new_drives: chance that the next good version fails on as many other drives; None where it cannot be told.
        why_not: why not.
        limits: of every rule what would hold, and what it would catch.
        worst_rules: rules that failing versions break, with how many break them.
    """

    policy: str
    versions: tuple[str, ...]
    failing: int
    suite: Chance
    versions_needed: int
    drives: int
    new_drives: Chance | None
    why_not: str
    limits: tuple[SuggestedLimit, ...]
    worst_rules: dict[str, int]

    @property
    def calibrated(self) -> bool:
        """Whether a good version is shown to fail in at most 10 %, on this suite and on new drives."""
        return self.suite.calibrated and self.new_drives is not None and self.new_drives.calibrated

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        found: dict[str, Any] = plain(asdict(self) | {"calibrated": self.calibrated})
        return found


def calibrate(runs: Sequence[RunLike], policy: Policy, profile: str | None = None) -> Calibration:
    """Ask what several good versions say of a policy.

    Args:
        runs: of versions that are known to be good, on the same cases.
        policy: what they are judged by.
        profile: of the policy.

    Raises:
        UsageError: fewer than two runs, runs of other cases, or no rule to score.
        TruelineError: as `judge`.
    """
    scores = scores_of([judge(run, policy, profile) for run in runs], policy)
    worst = scores.of_version
    failing = int(over(worst).sum())
    new_drives, why_not = _on_new_drives(scores.of_drive)
    broken = np.asarray(over(scores.of_rule).any(axis=2))
    return Calibration(
        policy=policy.name,
        versions=scores.versions,
        failing=failing,
        suite=chance_on_suite(failing, len(worst)),
        versions_needed=versions_needed(failing),
        drives=len(scores.drives),
        new_drives=new_drives,
        why_not=why_not,
        limits=tuple(suggested_limits(scores)),
        worst_rules={rule.id: int(broken[:, r].sum()) for r, rule in enumerate(scores.rules) if broken[:, r].any()},
    )


def _on_new_drives(of_drive: np.ndarray[Any, np.dtype[np.float64]]) -> tuple[Chance | None, str]:
    whole = np.isfinite(of_drive).all(axis=0)
    if not whole.all():
        return None, "a version has no number, or an infinite one, on some drive"
    if of_drive.shape[1] < _LEAST_DRIVES:
        return None, f"it takes {_LEAST_DRIVES} drives at least to see how drives vary"
    return chance_on_drives(of_drive), ""
