"""Frozen: a line that stands still while the reference's moves, as when an engine hands out its last answer again.

Bias and lag see it late or never: a picture that is frozen for two seconds is a growing offset of a smooth line.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from harness.measures.blocks import StationBlock, Stretch
from harness.measures.windows import running_median, runs_of

__all__ = ["SHORTEST_S", "frozen_of"]

Floats = NDArray[np.float64]

SHORTEST_S = 0.5
_SCALES = 5  # windows of 0.5, 1, 2, 4 and 8 s: what moves slowly needs long ones
_STILL = 0.02  # of the swing threshold: 5 mm, more than an engine that runs again differs by
_MOVES = 3.0  # noise floors that the reference must travel
_CLEARLY = 1.5
_MEDIAN = 5  # frames; a glitch of the reference is no movement


def frozen_of(block: StationBlock) -> list[Stretch] | None:
    """Stretches of half a second or more in which the candidate stands still and the reference does not: seconds.

    In a window the candidate stays within the noise floor, and the reference travels more than three and clearly more
    than the difference of the two does in windows in which the candidate moves: beside a reference that shakes, a line
    that rightly stands still is not frozen, nor is one that never moves at all. None where nothing is long enough.
    """
    if not block.fps > 0 or np.isfinite(block.offset).sum() <= SHORTEST_S * block.fps:
        return None
    least = _STILL * block.grid.thresholds.swing[block.station]
    known = np.isfinite(block.offset)
    candidate = block.candidate
    reference = np.where(known, running_median(np.where(known, block.reference, np.nan), _MEDIAN), np.nan)
    width, frozen = int(np.ceil(SHORTEST_S * block.fps - 1e-6)) + 1, np.zeros(len(known), np.bool_)
    still: NDArray[np.bool_] | None = None  # windows of half a second in which the candidate stands still
    spans = [_Span(x, width) for x in (candidate, reference, candidate - reference)]
    for _ in range(_SCALES):
        own, moved, apart = (s.travelled() for s in spans)
        still = own <= least if still is None else still
        moving = apart[~_touch(still, width, len(known), spans[0].width)]
        moving = moving[np.isfinite(moving)]
        usual = float(moving.max()) if len(moving) >= spans[0].width else np.inf
        for start in np.flatnonzero((own <= least) & (moved > max(_MOVES * least, _CLEARLY * usual))):
            frozen[start : start + spans[0].width] = True
        if 2 * spans[0].width - 1 > len(known):
            break
        for s in spans:
            s.double()
    return [Stretch(int(a), int(b) - 1, int(b - a - 1) / block.fps) for a, b in zip(*runs_of(frozen), strict=True)]


def _touch(still: NDArray[np.bool_], narrow: int, count: int, wide: int) -> NDArray[np.bool_]:
    """Which windows of `wide` values share one with a still window of `narrow` values, [count - wide + 1]."""
    inside = np.convolve(still, np.ones(narrow, np.int64))[:count] > 0
    total = np.concatenate([[0], np.cumsum(inside)])
    return np.asarray(total[wide:] - total[:-wide] > 0)


class _Span:
    """How far a series travels in every window of a width that can be doubled; NaN where a value is missing."""

    def __init__(self, values: Floats, width: int) -> None:
        windows = np.lib.stride_tricks.sliding_window_view(values, min(width, len(values)))
        self.width = width
        self._low, self._high = windows.min(axis=1), windows.max(axis=1)

    def travelled(self) -> Floats:
        """Highest less lowest of each window."""
        return np.asarray(self._high - self._low)

    def double(self) -> None:
        """Windows of twice the width, less one value."""
        step = self.width - 1
        self._low = np.minimum(self._low[: len(self._low) - step], self._low[step:])
        self._high = np.maximum(self._high[: len(self._high) - step], self._high[step:])
        self.width += step
