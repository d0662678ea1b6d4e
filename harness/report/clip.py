"""The lines of one case as the page plays them: every rung and the truth, frame by frame, in whole quanta.

Where a case is too long for its share of the file, the stretches about its worst findings are kept; the page says which
frames it holds.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from harness.lines.table import CLOSED
from harness.report.finding import Tables
from harness.report.packing import Lines, thinned_places

__all__ = ["MAX_POINTS", "Moment", "lines_of_case", "nearest_first", "packed_lines", "stretches_kept"]

MAX_POINTS = 56
"""Points of a line: the drawn polyline differs from the full one by less than the width of its stroke."""

SHORTEST_S = 1.0
"""About a finding at least so much is kept before and after."""

Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Moment:
    """A stretch worth seeing: the worst frame and the stretch it is in."""

    frame: int
    start: int
    end: int


def stretches_kept(frames: Ints, moments: Sequence[Moment], most: int, fps: float) -> Ints:
    """Frames to keep, increasing: all where they are few, else the stretches about the moments, worst first.

    Args:
        frames: numbers of all frames, increasing, [n].
        moments: worst first; none: the beginning is kept.
        most: how many frames may be kept, 1 at least.
        fps: frames a second.
    """
    if len(frames) <= most:
        return frames
    wanted = [*moments, Moment(int(frames[0]), int(frames[0]), int(frames[-1]))]
    keep = np.zeros(len(frames), bool)
    for reach in (int(SHORTEST_S * fps), most):
        for moment in wanted:
            for place in nearest_first(frames, moment, reach):
                if keep.sum() >= most:
                    return frames[keep]
                keep[place] = True
    return frames[keep]


def nearest_first(frames: Ints, moment: Moment, reach: int) -> list[int]:
    """Places of frames within `reach` places of a moment's worst frame, the nearest first."""
    middle = int(np.clip(np.searchsorted(frames, moment.frame), 0, len(frames) - 1))
    around = np.arange(max(0, middle - reach), min(len(frames), middle + reach + 1))
    nearest: list[int] = around[np.argsort(np.abs(around - middle), kind="stable")].tolist()
    return nearest


def lines_of_case(run: Tables, case: str, rungs: Sequence[str]) -> pl.DataFrame:
    """Rows of lines.parquet of one case, of the rungs of the ladder, in order of frame, rung and line."""
    rows = run.table("lines").filter(pl.col("case") == case, pl.col("rung").is_in(list(rungs))).collect()
    order = pl.col("rung").replace_strict(list(rungs), list(range(len(rungs))), return_dtype=pl.Int64)
    return rows.with_columns(order.alias("place")).sort("frame", "place", "line")


def packed_lines(rows: pl.DataFrame, frames: Ints, reference: int, quantum: float) -> Lines:
    """Lines of the frames kept, the reference's first in each.

    Args:
        rows: frame, place (of the rung), score?, class?, topology, track?, x, y; of a case.
        frames: numbers of the frames kept, increasing.
        reference: the reference's place.
        quantum: what coordinates are rounded to.
    """
    rows = rows.filter(pl.col("frame").is_in(frames.tolist()))
    rows = rows.sort("frame", pl.col("place") != reference, "place", "line", maintain_order=True)
    x, y, length = _finite(rows)
    places, count = thinned_places(length, MAX_POINTS)
    return Lines(
        np.searchsorted(frames, rows["frame"].to_numpy()).astype(np.int64),
        rows["place"].to_numpy().astype(np.int64),
        _column(rows, "track", -1).astype(np.int64),
        count,
        np.round(x[places] / quantum).astype(np.int64),
        np.round(y[places] / quantum).astype(np.int64),
        {
            "score": np.round(1000 * _column(rows, "score", -0.001)).astype(np.int64),
            "class": _column(rows, "class", 0).astype(np.int64),
            "closed": (rows["topology"].to_numpy() == CLOSED).astype(np.int64),
        },
    )


def _column(rows: pl.DataFrame, name: str, missing: float) -> Any:
    """A column as float64, `missing` where it has no value or does not exist."""
    if name not in rows.columns:
        return np.full(rows.height, missing)
    return rows[name].cast(pl.Float64).fill_nan(None).fill_null(missing).to_numpy()


def _finite(rows: pl.DataFrame) -> tuple[NDArray[np.float64], NDArray[np.float64], Ints]:
    """(x, y, points of each line): the points that are numbers; a line without any stays, empty."""
    length = rows["x"].list.len().fill_null(0).to_numpy().astype(np.int64)
    x, y = (rows[c].explode(empty_as_null=False).drop_nulls().cast(pl.Float64).to_numpy() for c in ("x", "y"))
    keep = np.isfinite(x) & np.isfinite(y)
    before = np.concatenate([[0], np.cumsum(keep)])
    start = np.concatenate([[0], np.cumsum(length)])
    return x[keep], y[keep], np.diff(before[start])


def frames_of_case(run: Tables, case: str, known: Iterable[int]) -> Ints:
    """Numbers of all frames of a case that tables or its recording know, increasing."""
    found = [
        run.table(name).filter(pl.col("case") == case).select(pl.col("frame").unique()).collect()["frame"].to_numpy()
        for name in ("lines", "frame_metrics")
    ]
    return np.unique(np.concatenate([*found, np.fromiter(known, np.int64)])).astype(np.int64)
