"""What a sample of cases says about all cases: one-sided bounds and the decision they allow.

The unit is the drive, never the clip or the frame: clips of one drive resemble each other. A PASS and a FAIL each need
proof, so each has its own one-sided bound at `confidence`; between the two the answer is INCONCLUSIVE. If the truth
violates the policy a PASS is wrong with probability 1 - confidence at most, and if it does not, a FAIL is; never both,
because the truth is on one side. The two bounds together are the two-sided interval at 2 * confidence - 1.

Source: Clopper and Pearson (1934), by the quantiles of the beta distribution.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

__all__ = ["Bounds", "cases_needed", "dispersion_of", "hours_needed", "rate_bounds", "share_bounds"]


@dataclass(frozen=True, slots=True)
class Bounds:
    """An estimate and its one-sided lower and upper bound, each at the same confidence."""

    estimate: float
    lower: float
    upper: float

    def proves(self, allowed: float) -> bool | None:
        """True where the truth is proven to be at most `allowed`, False where proven above, None where neither."""
        if self.upper <= allowed:
            return True
        return False if self.lower > allowed else None


def share_bounds(violations: int, cases: int, confidence: float) -> Bounds:
    """Clopper-Pearson bounds of the share of all cases that violate, given `violations` of `cases`.

    Exact: whatever the true share, either bound is wrong with probability 1 - confidence at most.
    """
    from scipy.special import betaincinv

    k, n = violations, cases
    lower = 0.0 if k == 0 else float(betaincinv(k, n - k + 1, 1 - confidence))
    upper = 1.0 if k == n else float(betaincinv(k + 1, n - k, confidence))
    return Bounds(k / n, lower, upper)


def cases_needed(allowed_share: float, confidence: float, violations: int = 0) -> int:
    """Fewest cases that can PASS with that many violations: 59 for none, 5 % allowed and confidence 0.95."""
    few, enough = violations, violations + 1
    while share_bounds(violations, enough, confidence).upper > allowed_share:
        few, enough = enough, 2 * enough
    while enough - few > 1:
        middle = (few + enough) // 2
        if share_bounds(violations, middle, confidence).upper > allowed_share:
            few = middle
        else:
            enough = middle
    return enough


def dispersion_of(counts: ArrayLike, hours: ArrayLike, confidence: float) -> float:
    """How many times a Poisson count's variance the counts of drives have, 1 at least, on the safe side.

    The larger of Pearson's estimate and the one that weighs drives by their length; what is above 1 is enlarged by
    Student's quantile over the normal one, squared, and by one half again: few drives seldom hold one of the bad ones.

    Args:
        counts: events of each drive, [drives].
        hours: length of each, positive, [drives].
        confidence: of the bounds it is for.
    """
    from scipy.special import ndtri, stdtrit

    n, h = np.asarray(counts, np.float64), np.asarray(hours, np.float64)
    if len(n) < 2 or n.sum() == 0:
        return 1.0
    expected = n.sum() * h / h.sum()
    square = (n - expected) ** 2
    found = max(1.0, (square / expected).sum() / (len(n) - 1), square.sum() / n.sum() * len(n) / (len(n) - 1))
    if found == 1.0:
        return 1.0
    few = float(stdtrit(len(n) - 1, confidence) / ndtri(confidence)) ** 2
    return float(1 + 1.5 * (found * few - 1))


def rate_bounds(counts: ArrayLike, hours: ArrayLike, confidence: float) -> Bounds:
    """Bounds of the events per hour of all drives, given those of some.

    Exact for independent events (Garwood 1936): none in 16 s bound the rate at 674 per hour. Where drives differ by
    more than chance, counts and hours are divided by their dispersion.
    """
    from scipy.special import gammaincinv

    events, total = float(np.sum(counts)), float(np.sum(hours))
    spread = dispersion_of(counts, hours, confidence)
    lower = spread * float(gammaincinv(events / spread, 1 - confidence)) / total if events else 0.0
    return Bounds(events / total, lower, spread * float(gammaincinv(events / spread + 1, confidence)) / total)


def hours_needed(allowed_per_h: float, confidence: float, events: int, dispersion: float) -> float:
    """Hours in all that would PASS with that many events: 3.0 for none and one allowed per hour; inf for no rate."""
    from scipy.special import gammaincinv

    if allowed_per_h <= 0:
        return math.inf
    return dispersion * float(gammaincinv(events / dispersion + 1, confidence)) / allowed_per_h
