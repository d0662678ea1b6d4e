"""Lateral offset over time, small enough to embed: one trace per rung, track and band of a case.

Traces are dense over the case's frames; many numbers that a recording leaps over are one gap. A clip longer than the
allowed number of points is cut into buckets, and each bucket keeps its smallest and its largest value, so that no peak
is lost. Values travel as base64 of int16 with one scale per trace: 2.7 characters a point instead of about 7, and the
largest value is resolved to 1 part in 32766.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from harness.report.finding import Tables

__all__ = ["MAX_POINTS", "case_series", "min_max_buckets", "pack", "points_per_trace", "unpack"]

MAX_POINTS = 2000
MIN_POINTS = 120
MISSING = -32768
LEAP = 1000  # frames; so many missing ones are drawn in their length


def points_per_trace(traces: int, budget: int = 600_000) -> int:
    """How many points each of `traces` traces may have so that all together stay near `budget`."""
    return int(np.clip(budget // max(traces, 1), MIN_POINTS, MAX_POINTS))


def case_series(
    run: Tables,
    case: str,
    *,
    frames: int,
    fps: float,
    rungs: Sequence[str],
    reference: str,
    max_points: int = MAX_POINTS,
) -> dict[str, Any]:
    """All traces of one case; lines without a track are no series.

    Args:
        run: gives line_metrics; only the rows of this case are read.
        case: case id.
        frames: length of the case.
        fps: frames per second; times are frame / fps.
        rungs: names of rungs in ladder order; a trace names its rung by position.
        reference: only offsets against this rung count.
        max_points: limit for each trace; a longer one becomes minimum and maximum per bucket.

    Returns:
        JSON-able: `t` seconds of each point, `bucketed`, and `traces` of rung, track, band, d (see `pack`).
    """
    rows = (
        run.table("line_metrics")
        .filter(pl.col("case") == case, pl.col("reference") == reference, pl.col("track").is_not_null())
        .select("frame", "rung", "track", "band", pl.col("offset_mean").cast(pl.Float32))
        .collect()
    )
    axis = _axis(rows["frame"].to_numpy(), frames)
    length = len(axis)
    number = {name: i for i, name in enumerate(rungs)}
    bucketed = length > max_points
    traces = []
    for (rung, track, band), part in sorted(rows.partition_by("rung", "track", "band", as_dict=True).items()):
        if rung not in number:
            continue
        dense = np.full(length, np.nan, np.float32)
        dense[np.searchsorted(axis, part["frame"].to_numpy())] = part["offset_mean"].to_numpy()
        if bucketed:
            dense = min_max_buckets(dense, max_points)
        if np.isfinite(dense).any():
            traces.append({"rung": number[rung], "track": track, "band": band, "d": pack(dense)})
    return {"t": _times(axis, fps, max_points), "bucketed": bucketed, "traces": traces}


def min_max_buckets(values: NDArray[np.float32], max_points: int) -> NDArray[np.float32]:
    """Smallest and largest value of each of max_points // 2 buckets, in the order they occur; NaN where none is.

    Args:
        values: float32 [frames], NaN where missing.
        max_points: even number of points to return.

    Returns:
        float32 [max_points // 2 * 2].
    """
    edges = _edges(len(values), max_points // 2)
    out = np.full(2 * (len(edges) - 1), np.nan, np.float32)
    for i, (a, b) in enumerate(pairwise(edges.tolist())):
        part = values[a:b]
        finite = np.flatnonzero(np.isfinite(part))
        if len(finite):
            low, high = finite[np.argmin(part[finite])], finite[np.argmax(part[finite])]
            out[2 * i : 2 * i + 2] = part[[min(low, high), max(low, high)]]
    return out


def pack(values: NDArray[np.float32]) -> list[Any]:
    """[scale, data]: value = scale * int16, little-endian, base64; -32768 where there is none."""
    finite = np.isfinite(values)
    largest = float(np.abs(values[finite]).max()) if finite.any() else 0.0
    scale = float(f"{largest / 32766:.6g}") if largest > 0 else 1.0
    stored = np.full(len(values), MISSING, "<i2")
    stored[finite] = np.round(values[finite] / scale)
    return [scale, base64.b64encode(stored.tobytes()).decode("ascii")]


def unpack(packed: list[Any]) -> NDArray[np.float64]:
    """What the page does to read `pack`'s data; NaN where there is none."""
    stored = np.frombuffer(base64.b64decode(packed[1]), "<i2")
    return np.where(stored == MISSING, np.nan, stored * packed[0])


def _axis(numbers: NDArray[np.int64], frames: int) -> NDArray[np.int64]:
    """Frame numbers of the points, increasing: those of the rows and the numbers between them.

    Where more than LEAP numbers are missing, one of them stands for all: a gap is seen, and takes one point.

    Args:
        numbers: of the rows, in any order.
        frames: how many the case has; numbers from 0 to there are points too, where the rows are near.
    """
    known = np.unique(numbers)
    if not len(known) or (known[0] >= 0 and known[-1] < frames + LEAP):
        known = np.unique(np.concatenate([known, np.arange(frames)]))
    steps = known[1:].view(np.uint64) - known[:-1].view(np.uint64)  # numbers may be 2^64 apart
    between = np.where(steps <= LEAP, steps, 2).astype(np.int64)
    count = np.concatenate([between, np.ones(min(len(known), 1), np.int64)])
    first = np.cumsum(count) - count
    found: NDArray[np.int64] = np.repeat(known, count) + np.arange(count.sum()) - np.repeat(first, count)
    return found


def _times(axis: NDArray[np.int64], fps: float, max_points: int) -> list[float]:
    """Seconds of each point; a bucket's two points stand at its thirds."""
    if len(axis) <= max_points:
        return [round(i / fps, 4) for i in axis.tolist()]
    ends = [*axis.tolist(), int(axis[-1]) + 1]
    edges = _edges(len(axis), max_points // 2).tolist()
    return [round(t / fps, 4) for a, b in pairwise(edges) for t in _thirds(ends[a], ends[b - 1] + 1)]


def _thirds(a: float, b: float) -> tuple[float, float]:
    return a + (b - a) / 3, a + 2 * (b - a) / 3


def _edges(length: int, buckets: int) -> NDArray[np.int64]:
    return np.linspace(0, length, buckets + 1).round().astype(np.int64)
