"""Differences from the reference drawn larger: the same as the player's `error ×5, ×20` (templates/project.js)."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import polars as pl
from numpy.typing import NDArray

from harness.model.grid import Grid

__all__ = ["TIMES", "References", "magnified", "references_of", "times_that_show"]

Points = NDArray[np.float64]
References = Mapping[int, Points]
"""Track -> points of the reference's line in a frame."""

TIMES = (1, 5, 20)
SEEN = 0.03  # share of the picture from which a gap is seen at first sight: some 20 pixels of a screen's column


def times_that_show(size_of: Callable[[int], float]) -> int:
    """The least of TIMES that makes a gap large enough to be seen, else the largest.

    Args:
        size_of: the gap's share of the picture where differences are drawn so many times as large.
    """
    return next((times for times in TIMES if size_of(times) >= SEEN), TIMES[-1])


def references_of(rows: pl.DataFrame, reference: str) -> References:
    """The reference's lines of a frame by track.

    Args:
        rows: of lines.parquet, of one frame.
        reference: the rung.
    """
    own = rows.filter(pl.col("rung") == reference, pl.col("track").is_not_null()).unique("track", keep="first")
    return {int(track): points_of(x, y) for track, x, y in own.select("track", "x", "y").iter_rows()}


def points_of(x: list[float] | None, y: list[float] | None) -> Points:
    """Finite points of a row, [n, 2]."""
    points = np.stack([np.asarray(x or [], np.float64), np.asarray(y or [], np.float64)], axis=1)
    finite: Points = points[np.isfinite(points).all(axis=1)]
    return finite


def magnified(points: Points, reference: Points | None, grid: Grid, times: int) -> Points:
    """Points with their lateral difference from the reference's made larger; those that it lacks stay.

    Args:
        points: [n, 2] in the grid's frame.
        reference: [m, 2] of the line they are compared with; None: nothing moves.
        grid: of the run.
        times: how much larger.
    """
    if times == 1 or reference is None or len(reference) < 2:
        return points
    along, across = (0, 1) if grid.frame == "vehicle" else (1, 0)
    order = np.argsort(reference[:, along], kind="stable")
    known = reference[order]
    base = np.interp(points[:, along], known[:, along], known[:, across], left=np.nan, right=np.nan)
    wide = points.copy()
    wide[:, across] = np.where(np.isfinite(base), base + times * (points[:, across] - base), points[:, across])
    return wide
