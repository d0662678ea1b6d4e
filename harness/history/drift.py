"""Drift: a rule that still passes and has been getting worse, gate after gate.

The trend is Theil and Sen's: the median slope over all pairs of gates, which one odd gate does not move. Whether there
is one at all is asked by Mann and Kendall's test of the ranks, exact for few gates: nothing is assumed of the numbers
but that without drift every order of them is as likely as any other. It is asked of every rule and rung at once:
Benjamini and Hochberg keep the expected share of false alarms among what is told at FALSE_SHARE.

Sen, Journal of the American Statistical Association 63 (1968); Mann, Econometrica 13 (1945).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import combinations

import numpy as np

from harness.history.store import Gate, Number

__all__ = ["Drift", "drifts", "kendall_p"]

LEAST_GATES = 5  # of fewer even a strict rise is chance in more than 1 of 24
LOOK_BACK = 12  # gates a trend is taken from
AHEAD = 12  # gates within which a limit must be reached to be worth a word
FALSE_SHARE = 0.05


@dataclass(frozen=True, slots=True)
class Drift:
    """A rule on a rung that moves toward its limit.

    Attributes:
        rule, rung, unit: which.
        values: the last gates' numbers, oldest first.
        limit: of the last gate.
        per_gate: median slope, positive toward the limit.
        gates_left: gates until the limit is reached at this rate.
        p: chance of so one-sided an order without any drift.
    """

    rule: str
    rung: str
    unit: str
    values: tuple[float, ...]
    limit: float
    per_gate: float
    gates_left: float
    p: float


def drifts(gates: Sequence[Gate]) -> list[Drift]:
    """Rules of the last gate that drift toward their limit, the nearest first.

    Args:
        gates: of one model and policy, in the order of time.
    """
    if not gates:
        return []
    asked = [found for number in gates[-1].numbers if (found := _drift(gates, number)) is not None]
    told = _false_share(asked, [d.p for d in asked])
    near = [d for d in told if 0 < d.gates_left <= AHEAD]
    return sorted(near, key=lambda d: d.gates_left)


def _drift(gates: Sequence[Gate], last: Number) -> Drift | None:
    """The trend of one rule on one rung; None where there are too few numbers, or the limit is broken already."""
    values = [
        n.value for g in gates for n in g.numbers if (n.rule, n.rung, n.unit) == (last.rule, last.rung, last.unit)
    ]
    values = [v for v in values if math.isfinite(v)][-LOOK_BACK:]
    if len(values) < LEAST_GATES or last.status != "PASS":
        return None
    toward = np.array(values) * (1.0 if last.higher_is_worse else -1.0)
    slopes = [(toward[j] - toward[i]) / (j - i) for i, j in combinations(range(len(toward)), 2)]
    slope = float(np.median(slopes))
    room = (last.limit - last.value) * (1.0 if last.higher_is_worse else -1.0)
    left = room / slope if slope > 0 else math.inf
    return Drift(last.rule, last.rung, last.unit, tuple(values), last.limit, slope, left, kendall_p(toward))


def kendall_p(values: Sequence[float] | np.ndarray) -> float:
    """Chance that a random order of as many values rises so often or more; ties count half."""
    n = len(values)
    rises = sum((b > a) + 0.5 * (b == a) for a, b in combinations(values, 2))
    counts = _inversions(n)
    return float(sum(c for k, c in enumerate(counts) if k >= rises) / math.factorial(n))


@cache
def _inversions(n: int) -> tuple[int, ...]:
    """Orders of n values by how many of their pairs rise."""
    counts = [1]
    for size in range(2, n + 1):
        wider = [0] * (len(counts) + size - 1)
        for k, count in enumerate(counts):
            for more in range(size):
                wider[k + more] += count
        counts = wider
    return tuple(counts)


def _false_share(found: Sequence[Drift], chances: Sequence[float]) -> list[Drift]:
    """Benjamini and Hochberg, Journal of the Royal Statistical Society B 57 (1995)."""
    order = sorted(range(len(found)), key=lambda i: chances[i])
    kept = [rank for rank, i in enumerate(order, start=1) if chances[i] <= FALSE_SHARE * rank / len(found)]
    return [found[i] for i in order[: max(kept, default=0)]]
