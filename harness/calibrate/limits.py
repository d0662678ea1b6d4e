"""Limits that a good version keeps 95 % of the time, and the size of a fault that each limit would catch.

A version fails where any rule does, so the limits are set together: each rule's worst number by its own median over
the versions, and one factor for all. From 19 versions on the factor is the order statistic that a further version
exceeds in 5 % whatever the distribution (Vovk, Gammerman and Shafer, Algorithmic Learning in a Random World, 2005);
from fewer it is a prediction bound of the logarithms by Student's t, which assumes that they are about normal.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.calibrate.scores import Scores, best_of
from harness.gate.policy import Rule

__all__ = ["HELD", "SuggestedLimit", "factor_held", "suggested_limits"]

Floats = NDArray[np.float64]
HELD = 0.95
POWER = 0.9


@dataclass(frozen=True, slots=True)
class SuggestedLimit:
    """One rule.

    Attributes:
        rule, unit: which, and the unit of the lengths below.
        limit: the policy's.
        typical: worst number of a version, the median over versions.
        holds: the limit that holds HELD together with those of the other rules; NaN where every number is best.
        caught: size of a fault that the policy's limit catches with chance POWER, in the version and drive that it
            happens to meet, whatever its sign.
        caught_by_suggested: the same under `holds`.
    """

    rule: str
    unit: str
    limit: float
    typical: float
    holds: float
    caught: float
    caught_by_suggested: float


def suggested_limits(scores: Scores) -> list[SuggestedLimit]:
    """One for every rule whose limit is a distance from the best, worst first.

    Counts that must be 0 have nothing to choose, and of what is better the more there is nothing is foretold.
    """
    worst = np.nanmax(np.where(np.isnan(scores.of_rule), -np.inf, scores.of_rule), axis=2)
    usable = [r for r in range(len(scores.rules)) if _usable(scores.rules[r], worst[:, r])]
    if not usable:
        return []
    typical = np.median(worst[:, usable], axis=0)
    factor = factor_held((worst[:, usable] / typical).max(axis=1))
    found = []
    for r, middle in zip(usable, typical, strict=True):
        rule = scores.rules[r]
        size, best = abs(rule.limit.value - best_of(rule)), best_of(rule)
        sign = 1.0 if rule.higher_is_worse else -1.0
        own = scores.of_rule[:, r][np.isfinite(scores.of_rule[:, r])] * size
        held = factor * middle * size
        found.append(
            SuggestedLimit(
                rule.id,
                rule.limit.unit,
                rule.limit.value,
                best + sign * middle * size,
                best + sign * held,
                _caught(own, size),
                _caught(own, held),
            )
        )
    return sorted(found, key=lambda s: -abs(s.holds) / (abs(s.limit) or math.inf))


def _usable(rule: Rule, worst: Floats) -> bool:
    return math.isfinite(best_of(rule)) and bool(np.isfinite(worst).all()) and float(np.median(worst)) > 0


def factor_held(worst: Floats | Sequence[float], held: float = HELD) -> float:
    """What a further version's worst stays below with chance `held`, given those of as good versions, all positive."""
    from scipy.special import stdtrit

    values = np.sort(np.asarray(worst, np.float64))
    n = len(values)
    place = math.ceil((n + 1) * held - 1e-9)
    if place <= n:
        return float(values[place - 1])
    logs = np.log(values)
    return float(np.exp(logs.mean() + stdtrit(n - 1, held) * logs.std(ddof=1) * math.sqrt(1 + 1 / n)))


def _caught(numbers: Floats, limit: float) -> float:
    """Size of a fault d such that |d +- number| exceeds the limit for POWER of the numbers and signs."""
    needed = np.sort(np.concatenate([limit - numbers, limit + numbers]))
    return float(max(0.0, needed[min(len(needed) - 1, math.ceil(POWER * len(needed)) - 1)]))
