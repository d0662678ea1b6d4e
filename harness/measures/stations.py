"""Lines on fixed stations: the lateral position of every line at every station, as one dense array.

Vehicle frame: y at x. Image frame: minus u at row v, so that lateral is left positive in both frames. Inside this
package `forward` grows from near to far (x, or minus v) and `left` grows to the left (y, or minus u).

A line may come near to far or far to near. Only its advancing part counts: walking from its nearer end, a point that
is not farther than every point before it is dropped, so a line that hooks back is measured up to the hook. Points that
are not finite are dropped too, and the line is straight across the gap.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from harness.lines.table import OPEN, LineTable
from harness.model.grid import FrameKind, Grid

__all__ = ["forward_of", "is_longitudinal", "reach", "reach_gap", "resample"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

LINES_PER_BLOCK = 512  # keeps the working set in the cache
END_SLACK = 1e-6  # of the largest station: float32 rounding of an end point must not cost a station
# an open line is longitudinal where it extends at least this much forward for each unit across: 45 degrees on the road;
# in the image perspective flattens lane lines far aside, so that only lines near the horizontal lie across
MIN_FORWARD_PER_ACROSS = {"vehicle": 1.0, "image": 0.1}


def forward_of(stations: ArrayLike, frame: FrameKind) -> Floats:
    """Stations (x, or rows v) as distances that grow from near to far; same shape."""
    values = np.asarray(stations, np.float64)
    return values if frame == "vehicle" else -values


def resample(lines: LineTable, stations: ArrayLike, frame: FrameKind) -> Floats:
    """Lateral position of every line at every station, by linear interpolation.

    Args:
        lines: any lines; closed ones have no stations.
        stations: [stations], metres x or rows v, in any order.
        frame: frame of the lines.

    Returns:
        float64 [lines, stations], left positive, in the lines' unit; NaN where a line does not reach (nothing is
        extrapolated) and everywhere for closed lines and lines with fewer than two usable points.
    """
    forward = forward_of(stations, frame).ravel()
    order = np.argsort(forward, kind="stable")
    lateral = np.empty((len(lines), len(forward)))
    for first in range(0, len(lines), LINES_PER_BLOCK):
        rows = slice(first, min(first + LINES_PER_BLOCK, len(lines)))
        lateral[rows, order] = _interpolate(*_advancing(*_block(lines, rows, frame)), forward[order])
    return lateral


def is_longitudinal(lines: LineTable, frame: FrameKind) -> Bools:
    """Which lines run along the road, bool [lines]: open, and extending forward enough for what they extend across.

    Vehicle frame: at least as much forward as across. Image frame: at least a tenth, for perspective flattens lane
    lines far aside. Lines without two finite points do not.
    """
    forward, left = _axes(lines, slice(0, int(lines.start[-1])), frame)
    bad = ~(np.isfinite(forward) & np.isfinite(left))
    forward[bad] = left[bad] = np.nan
    ahead, across = _extent(forward, lines.start), _extent(left, lines.start)
    along: Bools = (lines.topology == OPEN) & (ahead > 0) & (ahead >= MIN_FORWARD_PER_ACROSS[frame] * across)
    return along


def reach(lateral: Floats, stations: ArrayLike, frame: FrameKind) -> Floats:
    """Farthest station that each line has, float64 [lines], in the stations' unit; NaN where it has none.

    Args:
        lateral: as `resample` gives it, [lines, stations], NaN where a line does not reach.
        stations: [stations], metres x or rows v.
        frame: frame of the stations.
    """
    forward = forward_of(stations, frame).ravel()
    farthest = np.where(np.isnan(lateral), -np.inf, forward).max(axis=1, initial=-np.inf)
    return forward_of(np.where(np.isfinite(farthest), farthest, np.nan), frame)


def reach_gap(reference: Floats, candidate: Floats, grid: Grid) -> Floats:
    """How much farther each candidate line reaches than its reference, float64 [pairs]; negative: it ends sooner.

    Args:
        reference, candidate: [pairs, 51] at the band stations of `grid`, NaN where a line does not reach.
    """
    ends = [forward_of(reach(lateral, grid.stations, grid.frame), grid.frame) for lateral in (candidate, reference)]
    return ends[0] - ends[1]


def _axes(lines: LineTable, points: slice, frame: FrameKind) -> tuple[Floats, Floats]:
    """Points as (forward, left), float64 [points] each: (x, y), or (-v, -u)."""
    x, y = lines.x[points].astype(np.float64), lines.y[points].astype(np.float64)
    return (x, y) if frame == "vehicle" else (-y, -x)


def _block(lines: LineTable, rows: slice, frame: FrameKind) -> tuple[Floats, Floats, Ints]:
    """(forward, left, start) of some lines; closed ones lose their points."""
    start = lines.start[rows.start : rows.stop + 1]
    points = slice(int(start[0]), int(start[-1]))
    forward, left = _axes(lines, points, frame)
    start = start - start[0]
    is_open = lines.topology[rows] == OPEN
    keep = np.isfinite(forward + left)
    if not is_open.all():
        keep &= np.repeat(is_open, np.diff(start))
    return _kept(forward, left, start, keep)


def _kept(forward: Floats, left: Floats, start: Ints, keep: Bools) -> tuple[Floats, Floats, Ints]:
    """The points to keep, with `start` counted anew."""
    if keep.all():
        return forward, left, start
    before = np.concatenate([[0], np.cumsum(keep)])
    return forward[keep], left[keep], before[start]


def _advancing(forward: Floats, left: Floats, start: Ints) -> tuple[Floats, Floats, Ints]:
    """Every line near to far, without the points that do not advance."""
    index = _near_first(forward, start)
    if index is not None:
        forward, left = forward[index], left[index]
    step_ok = np.diff(forward) > 0
    inner = start[1:-1]
    step_ok[inner[(inner > 0) & (inner < len(forward))] - 1] = True
    if step_ok.all():
        return forward, left, start
    owner = np.repeat(np.arange(len(start) - 1), np.diff(start))
    keep = np.ones(len(forward), bool)
    hooked = np.zeros(len(start) - 1, bool)
    hooked[owner[1:][~step_ok]] = True
    chosen = hooked[owner]
    keep[chosen] = _beyond_all_before(forward[chosen], np.diff(start)[hooked])
    return _kept(forward, left, start, keep)


def _near_first(forward: Floats, start: Ints) -> Ints | None:
    """Where to read each point from so that every line starts at its nearer end; None if all do."""
    count = np.diff(start)
    some = np.flatnonzero(count)
    turned = np.zeros(len(count), bool)
    turned[some] = forward[start[some + 1] - 1] < forward[start[some]]
    if not turned.any():
        return None
    point = np.arange(start[-1])
    mirrored = np.repeat(start[:-1] + start[1:] - 1, count) - point
    return np.where(np.repeat(turned, count), mirrored, point)


def _beyond_all_before(forward: Floats, count: Ints) -> Bools:
    """Which points lie farther than every point before them on their line, bool [points]; `count` points a line."""
    column = np.arange(count.max())
    inside = column < count[:, None]
    padded = np.full(inside.shape, -np.inf)
    padded[inside] = forward
    farther = np.ones(inside.shape, bool)
    farther[:, 1:] = padded[:, 1:] > np.maximum.accumulate(padded, axis=1)[:, :-1]
    result: Bools = farther[inside]
    return result


def _interpolate(forward: Floats, left: Floats, start: Ints, stations: Floats) -> Floats:
    """Lateral positions [lines, stations] of advancing lines at ascending stations."""
    lateral = np.full((len(start) - 1, len(stations)), np.nan)
    rows = np.flatnonzero(np.diff(start) >= 2)
    if len(rows) == 0 or len(stations) == 0:
        return lateral
    if len(rows) == len(lateral) and (shared := _shared_forward(forward, start)) is not None:
        return _interpolate_table(shared, left.reshape(len(lateral), -1), stations)
    first, last = start[rows, None], start[rows + 1, None] - 1
    low = np.clip(first + _points_up_to(forward, start, stations)[rows] - 1, first, last - 1)
    slope = np.zeros(len(forward))
    step = np.diff(forward)
    np.divide(np.diff(left), step, out=slope[:-1], where=step > 0)
    found = left[low] + slope[low] * (np.clip(stations, forward[first], forward[last]) - forward[low])
    lateral[rows] = np.where(_reached(stations, forward[first], forward[last]), found, np.nan)
    return lateral


def _interpolate_table(forward: Floats, left: Floats, stations: Floats) -> Floats:
    """The same, to the bit, for lines [lines, points] that share their forward positions [points]."""
    low = np.clip(np.searchsorted(forward, stations, side="right") - 1, 0, len(forward) - 2)
    slope = np.diff(left, axis=1) / np.diff(forward)
    ahead = np.clip(stations, forward[0], forward[-1]) - forward[low]
    found = np.take(slope, low, axis=1)
    found *= ahead
    found += np.take(left, low, axis=1)
    found[:, ~_reached(stations, forward[:1], forward[-1:])] = np.nan
    return found


def _shared_forward(forward: Floats, start: Ints) -> Floats | None:
    """The forward positions of the points where all lines have the same ones, as fixed-station models give."""
    count = np.diff(start)
    if (count != count[0]).any():
        return None
    table = forward.reshape(len(count), -1)
    return table[0] if (table == table[0]).all() else None


def _reached(stations: Floats, first: Floats, last: Floats) -> Bools:
    """Whether stations lie between the ends of a line, within float32 rounding."""
    slack = END_SLACK * max(1.0, float(np.abs(stations).max()))
    reached: Bools = (stations >= first - slack) & (stations <= last + slack)
    return reached


def _points_up_to(forward: Floats, start: Ints, stations: Floats) -> Ints:
    """How many points of each line lie at or before each station, [lines, stations].

    Points are sorted into the few stations rather than stations into the many points: the small table stays in the
    cache.
    """
    lines, bins = len(start) - 1, len(stations) + 1
    row = np.repeat(np.arange(lines), np.diff(start))
    hits = np.bincount(row * bins + np.searchsorted(stations, forward), minlength=lines * bins)
    return np.cumsum(hits.reshape(lines, bins)[:, :-1], axis=1)


def _extent(values: Floats, start: Ints) -> Floats:
    """Largest minus smallest finite value of each line, [lines]; NaN for a line without any."""
    extent = np.full(len(start) - 1, np.nan)
    some = np.flatnonzero(np.diff(start))
    if len(some):
        edges = start[some]
        extent[some] = np.fmax.reduceat(values, edges) - np.fmin.reduceat(values, edges)
    return extent
