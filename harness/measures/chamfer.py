"""Chamfer distance between two shapes: the measure of closed lines, and of lines without common stations.

The symmetric Chamfer distance is the mean of the two directed ones; each is the mean, over points spread evenly along
one shape, of the distance to the nearest point of the other shape (of its edges, not only of its corners). It knows no
start and no orientation, so the same outline drawn from another corner has distance 0.

Source: the mean-distance Chamfer of Barrow et al. (IJCAI 1977), symmetric as map benchmarks use it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from harness.errors import MetricError
from harness.lines.table import CLOSED, LineTable

__all__ = ["SAMPLES", "boxes_gap", "chamfer", "even_points", "outlines"]

Floats = NDArray[np.float64]

SAMPLES = 32
WORDS_PER_BLOCK = 1 << 15  # of one [pairs, samples, edges] array, so that it stays in the cache


def chamfer(reference: LineTable, candidate: LineTable) -> Floats:
    """Symmetric Chamfer distance of each pair.

    Args:
        reference, candidate: as many lines each; line i is compared with line i, open or closed.

    Returns:
        float64 [pairs], in the lines' unit, never negative; NaN where a line has no finite point.

    Raises:
        MetricError: tables of different lengths.
    """
    if len(reference) != len(candidate):
        raise MetricError(
            f"{len(reference)} reference and {len(candidate)} candidate lines",
            where="chamfer(reference, candidate)",
            remedy="take the matched lines of both tables first",
        )
    edges = max(int(np.diff(t.start).max(initial=1)) for t in (reference, candidate))
    step = max(1, WORDS_PER_BLOCK // (SAMPLES * edges))
    result = np.empty(len(reference))
    for first in range(0, len(reference), step):
        rows = np.arange(first, min(first + step, len(reference)))
        a, b = outlines(reference.take(rows)), outlines(candidate.take(rows))
        result[rows] = (_directed(a, b) + _directed(b, a)) / 2
    return result


def outlines(lines: LineTable) -> Floats:
    """Corners of every line, [lines, corners, 2]; a closed line returns to its first point.

    Shorter lines repeat their last corner, which adds edges of no length. Points that are not finite are dropped; a
    line without any is NaN.
    """
    finite = np.isfinite(lines.x) & np.isfinite(lines.y)
    before = np.concatenate([[0], np.cumsum(finite)])
    start = before[lines.start]
    count = np.diff(start)
    points = np.stack([lines.x[finite], lines.y[finite]], axis=1).astype(np.float64)
    column = np.arange(int(count.max(initial=1)) + 1)
    beyond = np.where(lines.topology == CLOSED, 0, np.maximum(count - 1, 0))[:, None]
    index = start[:-1, None] + np.where(column < count[:, None], column, beyond)
    corners = np.full((*index.shape, 2), np.nan)
    some = count > 0
    corners[some] = points[index[some]]
    return corners


def even_points(corners: Floats, shares: Floats) -> Floats:
    """Points at the given shares (0 to 1) of each line's length, [lines, shares, 2].

    Args:
        corners: [lines, corners, 2], as `outlines` gives them.
        shares: [shares].
    """
    edge = np.diff(corners, axis=1)
    length = np.hypot(edge[..., 0], edge[..., 1])
    walked = np.concatenate([np.zeros((len(corners), 1)), np.cumsum(length, axis=1)], axis=1)
    target = walked[:, -1:] * shares
    passed = (walked[:, None, 1:-1] <= target[..., None]).sum(axis=-1)
    row = np.arange(len(corners))[:, None]
    along = (target - walked[row, passed]) / np.where(length > 0, length, 1)[row, passed]
    points: Floats = corners[row, passed] + np.clip(along, 0, 1)[..., None] * edge[row, passed]
    return points


def boxes_gap(reference: LineTable, candidate: LineTable, row: NDArray[np.int64], column: NDArray[np.int64]) -> Floats:
    """Gap between the bounding boxes of each pair, [pairs]: never more than their Chamfer distance, and cheap."""
    gap = np.zeros((len(row), 2))
    for axis, name in enumerate(("x", "y")):
        low_a, high_a = _box(getattr(reference, name), reference.start)
        low_b, high_b = _box(getattr(candidate, name), candidate.start)
        gap[:, axis] = np.maximum(low_a[row] - high_b[column], low_b[column] - high_a[row])
    widest: Floats = gap.max(axis=1, initial=0)
    return widest


def _box(values: NDArray[np.float32], start: NDArray[np.int64]) -> tuple[Floats, Floats]:
    """Smallest and largest finite value of each line, [lines]; NaN where a line has none."""
    low, high = np.full((2, len(start) - 1), np.nan)
    values = np.where(np.isfinite(values), values, np.nan)
    some = np.flatnonzero(np.diff(start))
    if len(some):
        low[some], high[some] = (f.reduceat(values, start[some]) for f in (np.fmin, np.fmax))
    return low, high


def _directed(a: Floats, b: Floats) -> Floats:
    """Mean distance from points along `a` to the nearest point of `b`, [pairs]; corners [pairs, corners, 2]."""
    shares = (np.arange(SAMPLES) + 0.5) / SAMPLES
    points = even_points(a, shares)
    away = [points[:, :, None, axis] - b[:, None, :-1, axis] for axis in (0, 1)]
    edge = [np.diff(b[..., axis], axis=1)[:, None] for axis in (0, 1)]
    length2 = edge[0] ** 2 + edge[1] ** 2
    toward = [e / np.where(length2 > 0, length2, 1) for e in edge]
    along = away[0] * toward[0]
    along += away[1] * toward[1]
    np.clip(along, 0, 1, out=along)
    for axis in (0, 1):
        away[axis] -= along * edge[axis]
        away[axis] *= away[axis]
    away[0] += away[1]
    nearest: Floats = np.sqrt(away[0].min(axis=-1)).mean(axis=-1)
    return nearest
