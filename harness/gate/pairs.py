"""Pairs of numbers of the same drives: which side is better, and how sure that is.

The unit is the drive. The sign test asks whether one side is better more often than by chance; the median of the
differences has the interval of its order statistics. Both are exact and need no distribution: below six drives nothing
can be shown at 95 %, and the answer is `unknown`.

Source: Thompson (1936) for the interval, Benjamini and Hochberg (1995) for many measures at once.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

__all__ = ["CONFIDENCE", "Paired", "paired", "shown_ones"]

CONFIDENCE = 0.95


@dataclass(frozen=True, slots=True)
class Paired:
    """What the differences of some drives say; positive is worse on the second side.

    Attributes:
        pairs: drives that both sides have a number of.
        better, worse: drives in which the second side is better and worse.
        median: of the differences; NaN where there are none.
        low, high: its interval; infinite where so few drives bound nothing.
        chance: of so uneven a split by chance, two-sided.
    """

    pairs: int
    better: int
    worse: int
    median: float
    low: float
    high: float
    chance: float


def paired(differences: Sequence[float], confidence: float = CONFIDENCE) -> Paired:
    """The sign test and the interval of the median.

    Args:
        differences: second less first, one for each drive, positive where the second is worse; NaN is left out.
        confidence: of the interval.
    """
    from scipy.stats import binom

    d = np.sort([x for x in differences if not math.isnan(x)])
    count, better, worse = len(d), int((d < 0).sum()), int((d > 0).sum())
    if not count:
        return Paired(0, 0, 0, math.nan, -math.inf, math.inf, 1.0)
    uneven = better + worse
    chance = min(1.0, 2 * float(binom.cdf(min(better, worse), uneven, 0.5))) if uneven else 1.0
    k = int(binom.ppf((1 - confidence) / 2, count, 0.5))
    while k and binom.cdf(k - 1, count, 0.5) > (1 - confidence) / 2:
        k -= 1
    low, high = (float(d[k - 1]), float(d[count - k])) if k else (-math.inf, math.inf)
    return Paired(count, better, worse, float(np.median(d)), low, high, chance)


def shown_ones(chances: Sequence[float], share: float = 1 - CONFIDENCE) -> list[bool]:
    """Which of many answers are told, so that of those told a share of 5 % is expected to be chance.

    Args:
        chances: of each measure.
        share: of false ones among those told.
    """
    if not len(chances):
        return []
    order = np.argsort(chances)
    passed = [i for i, place in enumerate(order) if chances[place] <= share * (i + 1) / len(chances)]
    last = max(passed, default=-1)
    told = [False] * len(chances)
    for place in order[: last + 1]:
        told[int(place)] = True
    return told
