"""The vanishing row of a picture, from the lines that a model draws in it: straight lines on a flat road meet there."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import combinations

import numpy as np

from harness.lines.table import OPEN, LineTable

__all__ = ["vanishing_row"]

_FEWEST = 12  # pairs of lines
_APART = 0.5  # columns a row by which two lines must lean apart
_SPREAD = 0.1  # of the height: half of the crossings lie this close together, or it is not told


def vanishing_row(tables: Iterable[LineTable], height: float) -> float | None:
    """Median row at which the near halves of two lines of a frame would cross; None where they do not agree.

    Args:
        tables: lines in pixels.
        height: of the image.
    """
    rows = np.array([row for table in tables for row in _crossings(table)])
    rows = rows[(rows > -height) & (rows < height)]
    if len(rows) < _FEWEST:
        return None
    low, middle, high = np.quantile(rows, [0.25, 0.5, 0.75])
    return float(middle) if high - low <= _SPREAD * height else None


def _crossings(lines: LineTable) -> Iterator[float]:
    leaning = [(int(lines.frame[i]), *_near_half(lines, i)) for i in range(len(lines)) if lines.topology[i] == OPEN]
    for (frame, slope, at_0), (other, slope_2, at_0_2) in combinations(leaning, 2):
        if frame == other and abs(slope - slope_2) > _APART:
            yield (at_0_2 - at_0) / (slope - slope_2)


def _near_half(lines: LineTable, line: int) -> tuple[float, float]:
    """Columns a row, and column at row 0, of the half of a line that is nearer."""
    u, v = lines.points(line).astype(np.float64).T
    near = v >= np.median(v)
    if near.sum() < 2 or np.ptp(v[near]) == 0:
        return 0.0, 0.0
    slope, at_0 = np.polyfit(v[near], u[near], 1)
    return float(slope), float(at_0)
