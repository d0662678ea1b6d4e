"""Lag: by how many frames the candidate's line follows the reference's, from the cross-correlation of their own series.

A stale frame or a queue before the engine moves every line late by the same number of frames; nothing in a single frame
shows it while the road is straight.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["LONGEST_LAG", "lag_frames"]

Floats = NDArray[np.float64]

LONGEST_LAG = 10
_FEWEST_OVERLAPPING = 20
_CLEARLY_BETTER = 0.5


def lag_frames(
    candidate: NDArray[np.floating[Any]],
    reference: NDArray[np.floating[Any]],
    floor: float,
    longest: int = LONGEST_LAG,
) -> float:
    """Frames by which `candidate` follows `reference`, positive where it is late, refined below a frame by a parabola.

    A lag is only believed where it explains: the variance it leaves (1 - correlation squared) must be less than half
    of what no lag leaves, else the answer is 0.

    Args:
        candidate: its own position at one station, NaN where missing, [n].
        reference: as `candidate`, [n].
        floor: standard deviation of the reference below which nothing moves enough to tell.
        longest: largest lag tried, either way.

    Returns:
        Frames; NaN where under 20 frames overlap, the reference stands still, or the two are not alike (r below 0.5).

    Source: ours, docs/DESIGN.md section 4.
    """
    c, r = np.asarray(candidate, np.float64), np.asarray(reference, np.float64)
    known = r[np.isfinite(r)]
    if len(known) < _FEWEST_OVERLAPPING or known.std() < floor:
        return float("nan")
    lags = np.arange(-longest, longest + 1)
    likeness = np.array([_correlation(c, r, int(k)) for k in lags])
    if not np.isfinite(likeness[longest]) or np.nanmax(likeness) < 0.5:
        return float("nan")
    best = int(np.nanargmax(likeness))
    left, left_without = 1 - likeness[best] ** 2, 1 - likeness[longest] ** 2
    if left >= _CLEARLY_BETTER * left_without:
        return 0.0
    return float(lags[best]) + _vertex(likeness, best)


def _correlation(candidate: Floats, reference: Floats, lag: int) -> float:
    """Pearson correlation of candidate[t + lag] and reference[t] where both are known; NaN for too few frames."""
    late = candidate[max(lag, 0) : len(candidate) + min(lag, 0)]
    early = reference[max(-lag, 0) : len(reference) - max(lag, 0)]
    both = np.isfinite(late) & np.isfinite(early)
    if both.sum() < _FEWEST_OVERLAPPING:
        return float("nan")
    a, b = late[both] - late[both].mean(), early[both] - early[both].mean()
    scale = float(np.sqrt((a @ a) * (b @ b)))
    return float(a @ b) / scale if scale > 0 else float("nan")


def _vertex(values: Floats, at: int) -> float:
    """Where the parabola through a maximum and its neighbours peaks, in -0.5 .. 0.5; 0 at the ends."""
    if at in (0, len(values) - 1):
        return 0.0
    before, peak, after = values[at - 1 : at + 2]
    curve = before - 2 * peak + after
    return float(np.clip((before - after) / (2 * curve), -0.5, 0.5)) if np.isfinite(curve) and curve < 0 else 0.0
