"""The lines of the frames a report shows, per rung: in their own frame, and as offset along the line.

Only the chosen frames are read from the run. A line keeps at most MAX_POINTS points: enough that the drawn polyline
differs from the full one by less than the width of its stroke.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from harness.lines.table import CLOSED
from harness.model.grid import FrameKind, Grid
from harness.report.finding import Tables, WorstFrame
from harness.report.series import pack

__all__ = ["MAX_POINTS", "lateral_offset", "lines_of_frames", "packed", "thinned"]

MAX_POINTS = 56
OFFSET_POINTS = 41

Points = NDArray[np.float32]


def lines_of_frames(
    run: Tables, chosen: Sequence[WorstFrame], rungs: Sequence[str], reference: str, grid: Grid
) -> list[list[dict[str, Any]]]:
    """Lines of each chosen frame.

    Returns:
        For each frame a list of lines: rung (position in `rungs`), track, slot, class, score, closed, `points` (float32
        [n, 2]) and, where the reference has the same line, `offset` (float64 [n, 2]: station, and lateral offset, left
        positive).
    """
    if not chosen:
        return []
    keys = pl.LazyFrame({"case": [f.case for f in chosen], "frame": [f.frame for f in chosen]}).unique()
    near = pl.col("case").is_in([f.case for f in chosen]) & pl.col("frame").is_in([f.frame for f in chosen])
    rows = run.table("lines").filter(near).join(keys, on=["case", "frame"], how="semi").collect(engine="streaming")
    rows = rows.sort("case", "frame", "rung", "line")
    parts = rows.partition_by("case", "frame", as_dict=True)
    number = {name: i for i, name in enumerate(rungs)}
    none = rows.clear()
    return [_lines(parts.get((f.case, f.frame), none), number, reference, grid) for f in chosen]


def _lines(rows: pl.DataFrame, number: dict[str, int], reference: str, grid: Grid) -> list[dict[str, Any]]:
    points = [_finite(x, y) for x, y in zip(rows["x"].to_list(), rows["y"].to_list(), strict=True)]
    facts = rows.drop("x", "y").to_dicts()
    open_lines = [
        (row["track"], p)
        for row, p in zip(facts, points, strict=True)
        if row["rung"] == reference and row["topology"] != CLOSED and len(p)
    ]
    tracked = {track: p for track, p in open_lines if track is not None}
    others = [p for track, p in open_lines if track is None]
    lines = []
    for row, own in zip(facts, points, strict=True):
        if row["rung"] not in number or len(own) == 0:
            continue
        line = {
            "rung": number[row["rung"]],
            "track": row["track"],
            "slot": row["slot"],
            "class": row["class"],
            "score": round(float(row["score"]), 3) if row["score"] is not None else None,
            "closed": row["topology"] == CLOSED,
            "points": thinned(own),
        }
        partner = _partner(row, own, tracked, others, grid)
        if row["rung"] != reference and partner is not None:
            line["offset"] = lateral_offset(own, partner, grid.frame)
        lines.append(line)
    return sorted(lines, key=lambda li: (li["rung"], li["track"] is None, li["track"] or 0))


def _partner(
    row: dict[str, Any], own: Points, tracked: dict[int, Points], others: Sequence[Points], grid: Grid
) -> Points | None:
    """The reference's line of the same track; for a line without one, the nearest of those without one, in the gate."""
    if row["topology"] == CLOSED:
        return None
    if row["track"] is not None:
        return tracked.get(row["track"])
    gate = grid.thresholds.match_gate
    gaps = [lateral_offset(own, other, grid.frame)[:, 1] for other in others]
    near = [(float(np.abs(gap).mean()), i) for i, gap in enumerate(gaps) if len(gap)]
    return others[min(near)[1]] if near and min(near)[0] < gate else None


def lateral_offset(candidate: Points, reference: Points, kind: FrameKind) -> NDArray[np.float64]:
    """Offset of the candidate at stations both lines reach, near to far.

    Args:
        candidate: [points, 2], x forward and y left in metres, or u and v in pixels.
        reference: the same of the reference's line.
        kind: vehicle or image.

    Returns:
        float64 [stations, 2]: station (x, or row v) and offset, left positive; no rows where the lines do not overlap.
    """
    along, across, sign = (0, 1, 1.0) if kind == "vehicle" else (1, 0, -1.0)
    a, b = (p[np.argsort(p[:, along], kind="stable")].astype(np.float64) for p in (candidate, reference))
    low, high = max(a[0, along], b[0, along]), min(a[-1, along], b[-1, along])
    if not low < high:
        return np.zeros((0, 2))
    station = np.linspace(low, high, OFFSET_POINTS)
    d = np.interp(station, a[:, along], a[:, across]) - np.interp(station, b[:, along], b[:, across])
    pairs = np.stack([station, sign * d], axis=1)
    return pairs if kind == "vehicle" else pairs[::-1]


def packed(line: dict[str, Any]) -> dict[str, Any]:
    """A line as the page reads it: x, y in its own frame, u, v in the picture, o offset from station `from` to `to`."""
    arrays = {"x": line["points"][:, 0], "y": line["points"][:, 1]}
    if "pixels" in line:
        arrays |= {"u": line["pixels"][:, 0], "v": line["pixels"][:, 1]}
    facts = {k: v for k, v in line.items() if k not in ("points", "pixels", "offset", "slot")}
    if len(offset := line.get("offset", ())):
        arrays["o"] = offset[:, 1]
        facts |= {"from": round(float(offset[0, 0]), 2), "to": round(float(offset[-1, 0]), 2)}
    return facts | {name: pack(np.asarray(values, np.float32)) for name, values in arrays.items() if len(values)}


def thinned(points: Points, most: int = MAX_POINTS) -> Points:
    """At most `most` points, evenly picked, both ends kept."""
    if len(points) <= most:
        return points
    return points[np.linspace(0, len(points) - 1, most).round().astype(np.int64)]


def _finite(x: list[float] | None, y: list[float] | None) -> Points:
    points = np.stack([np.asarray(x or [], np.float32), np.asarray(y or [], np.float32)], axis=1)
    return points[np.isfinite(points).all(axis=1)]
