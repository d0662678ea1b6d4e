"""Sliding windows over one series with holes: running medians, quantiles of many windows at once, runs of flags."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["quantiles", "running_median", "runs_of", "window_starts"]

Floats = NDArray[np.float64]

_ROWS = 16_384  # windows that are sorted at once, so that memory does not grow with the clip


def running_median(values: NDArray[np.floating[Any]], width: int) -> Floats:
    """Median of the `width` values around each (odd; fewer at the ends), NaN left out; NaN where all are.

    Args:
        values: of one series [n], or of several [..., n].
        width: of a window.
    """
    from scipy.ndimage import median_filter

    half, count = width // 2, values.shape[-1]
    padded = np.full((*values.shape[:-1], count + 2 * half), np.nan)
    padded[..., half : half + count] = values
    known = np.isfinite(padded)
    total = np.cumsum(known, axis=-1)
    whole = total[..., width - 1 :] - total[..., : -width + 1 or None] + known[..., : -width + 1 or None] == width
    line = np.where(known, padded, 0.0).ravel()  # one series after another: no window reaches from one to the next
    found = median_filter(line, size=width) if whole.any() else line
    found = found.reshape(padded.shape)[..., half : half + count].copy()
    rest = np.flatnonzero(~whole)
    starts = rest + 2 * half * (rest // max(count, 1))
    found[~whole] = quantiles(padded.ravel(), starts, width, 0.5, 1)
    return found


def window_starts(count: int, width: int, hop: int) -> NDArray[np.int64]:
    """First value of each window of `width` values, `hop` apart, the last one at the end; one where fewer are there."""
    last = max(0, count - width)
    return np.unique(np.append(np.arange(0, last + 1, hop), last))


def quantiles(values: Floats, starts: NDArray[np.int64], width: int, share: float, fewest: int) -> Floats:
    """A quantile of each window, NaN left out; [windows], NaN where fewer than `fewest` values are left."""
    width = min(width, len(values))
    found = np.full(len(starts), np.nan)
    if width == 0:
        return found
    windows = np.lib.stride_tricks.sliding_window_view(values, width)
    for a in range(0, len(starts), _ROWS):
        rows = np.sort(windows[starts[a : a + _ROWS]], axis=1)  # NaN last
        count = np.isfinite(rows).sum(axis=1)
        place = share * np.maximum(count - 1, 0)
        low = place.astype(np.int64)
        at = np.arange(len(rows))
        below, above = rows[at, low], rows[at, np.minimum(low + 1, np.maximum(count - 1, 0))]
        found[a : a + _ROWS] = np.where(count >= fewest, below + (place - low) * (above - below), np.nan)
    return found


def runs_of(flags: NDArray[np.bool_]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Start and stop (exclusive) of every run of true values in [n]."""
    edge = np.flatnonzero(np.diff(np.concatenate([[False], flags, [False]]).astype(np.int8)))
    return edge[::2], edge[1::2]
