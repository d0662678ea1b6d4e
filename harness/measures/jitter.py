"""Jitter: how much an offset shakes from frame to frame, as the sigma of the white noise that would shake it as much.

Blind to bias and steady drift. Pool cases of equal frame rate by adding sums and counts (`series.require_equal_fps`).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.errors import CaseTooShort
from harness.measures.series import runs_of

__all__ = ["MIN_RUN", "jitter", "jitter_sums"]

Floats = NDArray[np.float64]

MIN_RUN = 5


def jitter_sums(offset: NDArray[np.floating[Any]]) -> tuple[Floats, NDArray[np.int64]]:
    """Sum of squares and count of second differences: the accumulating half of jitter.

    Constant bias and steady drift cancel, so a smooth lane change adds nothing and shimmer does. Only runs of 5 frames
    or more count, and no difference reaches across a missing frame: gaps neither add nor hide jitter.

    Args:
        offset: candidate minus reference, metres or pixels, NaN where missing; [frames, stations], a fixed rate.

    Returns:
        (square length, number of differences) at each station, [stations]; pool cases by adding both.

    Raises:
        CaseTooShort: fewer than 3 frames.

    Source: ours, docs/DESIGN.md section 4; Var(second difference) of white noise is 6 sigma^2.
    """
    if len(offset) < 3:
        raise CaseTooShort(
            f"jitter needs 3 frames, got {len(offset)}",
            where="jitter_sums(offset)",
            remedy="use a longer case, or leave the metric out of its policy",
        )
    values = np.where(in_long_runs(np.isfinite(offset)), offset, np.nan).astype(np.float64)
    wobble = np.diff(values, n=2, axis=0)
    return np.nansum(wobble**2, axis=0), np.isfinite(wobble).sum(axis=0)


def jitter(square_sum: Floats, count: NDArray[np.int64]) -> Floats:
    """White-noise sigma equivalent: RMS second difference / sqrt(6); NaN where nothing was counted."""
    return np.sqrt(square_sum / np.where(count > 0, count, np.nan) / 6)


def in_long_runs(valid: NDArray[np.bool_], shortest: int = MIN_RUN) -> NDArray[np.bool_]:
    """Which of [frames, stations] belong to a run of at least `shortest` valid frames."""
    kept = np.zeros_like(valid)
    for station in range(valid.shape[1]):
        start, stop = runs_of(valid[:, station])
        long = stop - start >= shortest
        edges = np.zeros(len(valid) + 1, np.int64)
        edges[start[long]] += 1
        edges[stop[long]] -= 1
        kept[:, station] = np.cumsum(edges[:-1]) > 0
    return kept
