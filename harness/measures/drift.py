"""What lasts: bias, the mean of a line's offset over its life, and drift, its mean over the worst five seconds.

Both are of the candidate's part: without what the reference does by itself for two seconds or less, and what ground
truth clears (`harness.measures.frame_owner.lasting_offset`).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from harness.measures.blocks import StationBlock, Stretch

__all__ = ["MIN_LIFE_S", "WINDOW_S", "bias_of", "drift_of"]

Floats = NDArray[np.float64]

MIN_LIFE_S = 1.0  # of a line whose mean says anything: a line of five frames has an offset, no bias
WINDOW_S = 5.0
_COVERED = 0.8


def bias_of(block: StationBlock) -> float | None:
    """Mean offset over the case; None for a line that is compared for less than a second."""
    known = np.isfinite(block.lasting)
    return float(np.mean(block.lasting[known])) if known.sum() >= max(2, MIN_LIFE_S * block.fps) else None


def drift_of(block: StationBlock) -> list[Stretch] | None:
    """The five seconds with the largest mean offset, of those that are compared for 80 % of them; None without any."""
    width = round(WINDOW_S * block.fps) if block.fps > 0 else 0
    if not 0 < width <= len(block.lasting):
        return None
    known = np.isfinite(block.lasting)
    count, total = (_sums(x, width) for x in (known.astype(float), np.where(known, block.lasting, 0.0)))
    enough = count >= _COVERED * width
    if not enough.any():
        return None
    size = np.where(enough, np.abs(total / np.maximum(count, 1)), -1.0)
    worst = int(size.argmax())
    return [Stretch(worst, worst + width - 1, float(size[worst]))]


def _sums(values: Floats, width: int) -> Floats:
    """Sum of every `width` values in a row, [n - width + 1]."""
    total = np.concatenate([[0.0], np.cumsum(values)])
    return np.asarray(total[width:] - total[:-width])
