"""Jitter: how much a line shakes from frame to frame, as the sigma of the white noise that would shake it as much.

Blind to bias, to steady drift, and to a few frames that are far off, which are kinds of their own (`jumps`).
Comparable at equal frame rates only.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.measures.blocks import StationBlock, Stretch
from harness.measures.own import excess
from harness.measures.windows import quantiles, runs_of, window_starts

__all__ = ["MIN_RUN", "MIN_VALUES", "WINDOW_S", "jitter_of", "jitter_windows", "second_difference"]

Floats = NDArray[np.float64]

MIN_RUN = 5
MIN_VALUES = 20
WINDOW_S = 2.0
_HOP_S = 0.25
_SHARE = 0.8
_PER_SIGMA = 1.2815515655446004 * np.sqrt(6)  # the 80 % point of |z|; a second difference has 6 times the variance


def second_difference(values: NDArray[np.floating[Any]]) -> Floats:
    """x[t-1] - 2 x[t] + x[t+1] within runs of 5 values or more, [n], NaN elsewhere: never across a missing frame."""
    wobble = np.full(len(values), np.nan)
    for a, b in zip(*runs_of(np.isfinite(values)), strict=True):
        if b - a >= MIN_RUN:
            wobble[a + 1 : b - 1] = np.diff(np.asarray(values[a:b], np.float64), n=2)
    return wobble


def jitter_windows(values: NDArray[np.floating[Any]], fps: float) -> tuple[NDArray[np.int64], int, Floats]:
    """Jitter of every window of 2 s, a quarter of a second apart.

    Args:
        values: a length at a fixed rate, NaN where missing, [n].
        fps: values a second.

    Returns:
        (first value of each window, values of a window, jitter of each): the 80 % point of the second difference over
        1.2816 sqrt(6); NaN where a window has fewer than 20 of them.

    Source: ours, docs/DESIGN.md section 4. The 80 % point takes up to one frame in fifteen that is far off.
    """
    width = max(round(WINDOW_S * fps), MIN_VALUES + 2)
    starts = window_starts(len(values), width, max(1, round(_HOP_S * fps)))
    return starts, width, quantiles(np.abs(second_difference(values)), starts, width, _SHARE, MIN_VALUES) / _PER_SIGMA


def jitter_of(block: StationBlock) -> list[Stretch] | None:
    """The 2 s in which the candidate's own jitter is worst; None where no window has 20 second differences."""
    if not block.fps > 0:
        return None
    starts, width, offset = jitter_windows(block.offset, block.fps)
    if not np.isfinite(offset).any():
        return None
    own = [jitter_windows(values, block.fps)[2] for values in block.own()]
    sizes = excess(offset, *own)
    worst = int(np.nanargmax(sizes))
    return [Stretch(int(starts[worst]), int(min(starts[worst] + width, len(block.offset)) - 1), float(sizes[worst]))]
