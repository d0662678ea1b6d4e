"""Growth: how the divergence of a recurrent model from its reference goes on with the steps of a case.

A recurrent model takes its own errors in again. Where it forgets them (a contraction) the divergence stays at the level
of one step's error, where it keeps them it goes like the root of the number of steps (unrelated errors) or like the
number of steps (errors of one sign), and where it amplifies them it doubles at a steady rate until it is as large as
the signal. Two numbers tell these apart, from the RMS divergence v over bins of steps n, four bins to a doubling of n:

    growth      slope of log v over log n (Theil and Sen's: the median of all pairs of bins): v goes like n^growth. Most
                bins are early ones, so where the median of the last half's is 8 times that of the others or more, it is
                at least the exponent between these two
    doubling    time in which v doubles before it levels off, where v is better told by 2^(n/k) than by a power of n

The slope over plain time that comes first to mind fails on both ends: it calls a divergence that exploded and then
levelled off in the first second of a clip bounded, and a divergence that reached its level after a second growing.
docs/metrics-time.md has the simulation (`python -m benchmarks.state_growth`).

Source: ours; the estimator is Theil 1950 and Sen 1968.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["MIN_STEPS", "DivergenceLog", "Growth", "growth_of"]

Floats = NDArray[np.float64]

MIN_STEPS = 32
BINS_PER_DOUBLING = 4
EDGES = np.unique(np.rint(2.0 ** (np.arange(120) / BINS_PER_DOUBLING)).astype(np.int64))  # 1 .. 10^9 steps
MIN_DOUBLINGS = 3.0  # fewer cannot be told from a power, nor from a change of scene
MIN_RISING_BINS = 6
MIN_BINS = 8


@dataclass(frozen=True, slots=True)
class Growth:
    """What became of the divergence of one signal over one case.

    Attributes:
        steps: steps with a divergence.
        early: RMS divergence of the first second, in the signal's unit; NaN without one.
        late: RMS divergence of the last half of the case; NaN without a step.
        growth: exponent: 0 bounded, 0.5 a random walk, 1 a steady drift, more where errors are amplified; 0 where
            nothing ever diverged; NaN below MIN_STEPS, or where most steps lack a divergence.
        doubling_s: seconds in which the divergence doubles; NaN where it does not grow exponentially.
    """

    steps: int
    early: float
    late: float
    growth: float
    doubling_s: float


class DivergenceLog:
    """Sums of squares of one signal's divergence in bins of steps: the accumulating half, a few KB for any case."""

    def __init__(self) -> None:
        self._squares = np.zeros(len(EDGES))
        self._values = np.zeros(len(EDGES), np.int64)
        self._steps = np.zeros(len(EDGES), np.int64)
        self._least = math.inf

    def add(self, step: ArrayLike, divergence: ArrayLike) -> None:
        """Add values of some steps; all values of a step come in one call.

        Args:
            step: the network's steps since the case began, counted from 1, [n].
            divergence: candidate minus reference in whatever unit, [n]; those that are not finite count for nothing.
        """
        values = np.asarray(divergence, np.float64)
        fine = np.isfinite(values)
        at, values = np.asarray(step, np.int64)[fine], values[fine]
        self._least = float(min(self._least, np.abs(values[values != 0]).min(initial=math.inf)))
        place = _bin_of(at)
        self._squares += np.bincount(place, values**2, minlength=len(EDGES))
        self._values += np.bincount(place, minlength=len(EDGES))
        self._steps += np.bincount(_bin_of(np.unique(at)), minlength=len(EDGES))

    def growth(self, fps: float, scale: float = 1.0) -> Growth:
        """Finish: what the divergence did over the case.

        Args:
            fps: steps per second.
            scale: what `early` and `late` are divided by; where it is 0 they are NaN unless nothing diverged.
        """
        steps = int(self._steps.sum())
        used = np.flatnonzero(self._values)
        if not len(used):
            return Growth(0, math.nan, math.nan, math.nan, math.nan)
        last = EDGES[used[-1]] + self._steps[used[-1]] - 1
        early, late = (self._rms(rows, scale) for rows in (fps >= EDGES, last <= 2 * EDGES))
        full = self._steps * 2 >= np.append(np.diff(EDGES), EDGES[-1])
        if steps < MIN_STEPS or full.sum() < MIN_BINS:
            return Growth(steps, early, late, math.nan, math.nan)
        center = EDGES[full] + (self._steps[full] - 1) / 2
        exponent, doubling_steps = growth_of(center, np.sqrt(self._squares[full] / self._values[full]), self._least)
        return Growth(steps, early, late, exponent, doubling_steps / fps)

    def _rms(self, rows: NDArray[np.bool_], scale: float) -> float:
        """RMS over some bins in units of `scale`; NaN without values."""
        count, squares = self._values[rows].sum(), self._squares[rows].sum()
        if count == 0 or (scale == 0 and squares > 0):
            return math.nan
        return math.sqrt(squares / count) / (scale or 1.0)


def growth_of(step: Floats, divergence: Floats, least: float) -> tuple[float, float]:
    """Exponent of the growth, and the doubling time where it is exponential.

    Args:
        step: increasing, positive, [bins].
        divergence: not negative, [bins].
        least: stands for a divergence of 0: the smallest other one that was seen.

    Returns:
        (exponent, steps in which the divergence doubles); (0, NaN) where nothing diverges, NaN for the doubling where
        a power of the step describes the rise as well, or it rises by less than MIN_DOUBLINGS.
    """
    if not divergence.any():
        return 0.0, math.nan
    level = np.log2(np.where(divergence > 0, divergence, least))
    return max(_slope(np.log2(step), level), _between_halves(step, level)), _doubling(step, level)


def _between_halves(step: Floats, level: Floats) -> float:
    """Exponent between the median bins of both halves of the case; -inf for a rise that scenes alone may cause."""
    late = step >= step[-1] / 2
    if late.all():
        return -math.inf
    rise = float(np.median(level[late]) - np.median(level[~late]))
    run = float(np.median(np.log2(step[late])) - np.median(np.log2(step[~late])))
    return rise / run if rise >= MIN_DOUBLINGS else -math.inf


def _doubling(step: Floats, level: Floats) -> float:
    """Steps in which the divergence doubles until it first reaches half of what it is in the last half of the case."""
    plateau = np.median(level[step >= step[-1] / 2])
    rising = int(np.argmax(level >= plateau - 1)) + 1
    if rising < MIN_RISING_BINS:
        return math.nan
    step, level = step[:rising], level[:rising]
    fits = [
        (slope := _slope(axis, level, by_length=True), _misfit(level - slope * axis)) for axis in (step, np.log2(step))
    ]
    (rate, exponential), (_, power) = fits
    if rate <= 0 or exponential >= power or rate * (step[-1] - step[0]) < MIN_DOUBLINGS:
        return math.nan
    return 1.0 / rate


def _slope(x: Floats, y: Floats, *, by_length: bool = False) -> float:
    """Theil and Sen's slope: the median over all pairs, `by_length` of those weighted by their distance in x."""
    i, j = np.triu_indices(len(x), 1)
    run = x[j] - x[i]
    slopes = (y[j] - y[i]) / run
    if not by_length:
        return float(np.median(slopes))
    order = np.argsort(slopes)
    weight = np.cumsum(run[order])
    return float(slopes[order][np.searchsorted(weight, weight[-1] / 2)])


def _misfit(rest: Floats) -> float:
    """Median distance from the median."""
    return float(np.median(np.abs(rest - np.median(rest))))


def _bin_of(step: NDArray[np.int64]) -> NDArray[np.intp]:
    return np.searchsorted(EDGES, step, side="right") - 1
