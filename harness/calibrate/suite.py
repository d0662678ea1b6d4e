"""The same suite, the next version: the cases stay and versions vary, so the version is the sample's unit.

Resampling the cases of one version would claim a precision that is not there: every case meets the same version.
"""

from __future__ import annotations

from dataclasses import dataclass

from harness.gate.stats import cases_needed, share_bounds

__all__ = ["TOLERATED", "Chance", "chance_on_suite", "versions_needed"]

CONFIDENCE = 0.95
TOLERATED = 0.10
"""Where a good candidate may fail more often than this, as far as the sample tells, a policy is not calibrated."""


@dataclass(frozen=True, slots=True)
class Chance:
    """How often a good candidate fails: an estimate with one-sided bounds, each at CONFIDENCE."""

    estimate: float
    lower: float
    upper: float

    @property
    def calibrated(self) -> bool:
        """Whether it is shown to be at most TOLERATED."""
        return self.upper <= TOLERATED


def chance_on_suite(failing: int, versions: int) -> Chance:
    """Clopper-Pearson bounds from the versions that failed."""
    bounds = share_bounds(failing, versions, CONFIDENCE)
    return Chance(bounds.estimate, bounds.lower, bounds.upper)


def versions_needed(failing: int) -> int:
    """Versions in all, with no further failure, that would show it: 29 for none."""
    return cases_needed(TOLERATED, CONFIDENCE, failing)
