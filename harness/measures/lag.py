"""Lag: by how many frames the candidate's line follows the reference's, from the cross-correlation of their own series.

A stale frame or a queue before the engine moves every line late by the same number of frames; nothing in a single frame
shows it while the road is straight. So a lag is one of all lines: where lines and stations do not agree, there is none.
Another resize, say, moves a line as it crosses pixels, which looks like a lag here and there.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["LONGEST_LAG", "agreed_lags", "lag_frames"]

Floats = NDArray[np.float64]

LONGEST_LAG = 10
_FEWEST_OVERLAPPING = 20
_CLEARLY_BETTER = 0.5
_LEAST_GAIN = 0.5  # a delayed line moves as far as the one it follows; one that moves half or twice as far is another
_AGREEING, _WITHIN = 0.75, 0.5  # share of lines and stations whose lags lie within so many frames of their median


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
        Frames; NaN where under 20 frames overlap, the reference stands still, or the two are not alike (r below 0.5, or
        one moves less than half as far as the other).

    Source: ours, docs/DESIGN.md section 4.
    """
    c, r = np.asarray(candidate, np.float64), np.asarray(reference, np.float64)
    known = r[np.isfinite(r)]
    if len(known) < _FEWEST_OVERLAPPING or known.std() < floor:
        return float("nan")
    lags = np.arange(-longest, longest + 1)
    likeness = np.array([_correlation(c, r, int(k)) for k in lags])
    gain = float(np.nanstd(c) / np.nanstd(r)) if np.isfinite(c).any() else 0.0
    if not _LEAST_GAIN <= gain <= 1 / _LEAST_GAIN:
        return float("nan")
    if not np.isfinite(likeness[longest]) or np.nanmax(likeness) < 0.5:
        return float("nan")
    best = int(np.nanargmax(likeness))
    left, left_without = 1 - likeness[best] ** 2, 1 - likeness[longest] ** 2
    if left >= _CLEARLY_BETTER * left_without:
        return 0.0
    return float(lags[best]) + _vertex(likeness, best)


def agreed_lags(lags: Sequence[float]) -> list[float]:
    """The lags of all lines and stations of a case, as far as they agree.

    Args:
        lags: of `lag_frames`, NaN where one tells none.

    Returns:
        As they are where three in four lie within half a frame of their median, NaN for those that do not; else 0 for
        every one that was a number.
    """
    values = np.asarray(lags, np.float64)
    known = np.isfinite(values)
    if not known.any():
        return [float("nan")] * len(values)
    agree = known & (np.abs(values - np.median(values[known])) <= _WITHIN)
    if agree.sum() < _AGREEING * known.sum():
        return [float(v) for v in np.where(known, 0.0, np.nan)]
    return [float(v) for v in np.where(agree, values, np.nan)]


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
