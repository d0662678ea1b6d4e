"""Is a fault harmful? Decided here, from lines alone, apart from the gate: nothing of harness is imported.

With ground truth in metres: in some case, some line is off the truth by 0.05 m more than without the fault, on average
over its frames and stations. Otherwise the fault moves lines across by more than 4 px (0.15 m where lengths are metres)
in 2 % of the frames of some case. From half of that on it is grey and counts neither way.

    python harness/faults/harm.py CLEAN/lines.parquet FAULTED/lines.parquet RUNG [CASES]
"""

from __future__ import annotations

import math
import sys
from pathlib import Path

import numpy as np
import polars as pl

__all__ = ["GREW_M", "MOVED", "grown_error_m", "harm_of", "moved"]

GREW_M, MISSING_M = 0.05, 1.5  # a station without a line is as wrong as one that no line may be farther from
END = 0.01  # m or px
MOVED, MISSING, SHARE = {"px": 4.0, "m": 0.15}, {"px": 40.0, "m": 1.5}, 0.02


def harm_of(size: float, limit: float) -> str:
    """`harmful` above the limit, `grey` above half of it, else `harmless`; a size that is no number is harmful."""
    return "harmless" if size <= limit / 2 else "grey" if size <= limit else "harmful"


def grown_error_m(clean: pl.DataFrame, faulted: pl.DataFrame, truth: pl.DataFrame) -> float:
    """By how much the worst line of a case is farther off its truth, metres; lines of one rung and case each."""
    before, after = _errors_m(clean, truth), _errors_m(faulted, truth)
    return max((after[line] - before[line] for line in before), default=0.0)


def moved(clean: pl.DataFrame, faulted: pl.DataFrame, unit: str) -> float:
    """Distance across that 2 % of a case's frames exceed, mean over the rows of all lines, `unit` px or m."""
    one, other = _by_frame(clean, unit), _by_frame(faulted, unit)
    far = sorted(_apart(one.get(f, []), other.get(f, []), MISSING[unit]) for f in one.keys() | other.keys())
    return far[-math.ceil(SHARE * len(far))] if far else 0.0


def _errors_m(drawn: pl.DataFrame, truth: pl.DataFrame) -> dict[int, float]:
    """Mean distance to the truth of every line, by its slot (or place among the lines)."""
    found: dict[tuple[int, int], list[tuple[np.ndarray, np.ndarray]]] = {}
    for frame, slot, x, y in drawn.select("frame", pl.coalesce("slot", "line"), "x", "y").iter_rows():
        found.setdefault((frame, slot), []).append((np.array(x), np.array(y)))
    off: dict[int, list[float]] = {}
    for frame, slot, x, y in truth.select("frame", pl.coalesce("slot", "line"), "x", "y").iter_rows():
        if x:
            near = [_across(np.array(x), np.array(y), *line, MISSING_M) for line in found.get((frame, slot), [])]
            off.setdefault(slot, []).append(float(np.min(near, axis=0).mean()) if near else MISSING_M)
    return {slot: float(np.mean(errors)) for slot, errors in off.items()}


def _by_frame(drawn: pl.DataFrame, unit: str) -> dict[int, list[tuple[np.ndarray, np.ndarray]]]:
    """(along, across) of every line: rows and columns of a picture, metres ahead and to the left."""
    found: dict[int, list[tuple[np.ndarray, np.ndarray]]] = {}
    for frame, x, y in drawn.select("frame", "x", "y").iter_rows():
        line = (np.array(y), np.array(x)) if unit == "px" else (np.array(x), np.array(y))
        found.setdefault(frame, []).extend([line] if len(x) else [])
    return found


def _apart(one: list[tuple[np.ndarray, np.ndarray]], other: list[tuple[np.ndarray, np.ndarray]], most: float) -> float:
    """Mean distance from every row of every line to the nearest line of the other side, the larger of both ways."""
    ways = []
    for lines, others in ((one, other), (other, one)):
        rows = [np.min([_across(*a, *b, most) for b in others] or [np.full(len(a[0]), most)], axis=0) for a in lines]
        ways.append(float(np.concatenate(rows).mean()) if rows else 0.0)
    return max(ways)


def _across(at: np.ndarray, here: np.ndarray, along: np.ndarray, there: np.ndarray, most: float) -> np.ndarray:
    """Distance across of two lines at every place of the first; `most` where the second has none there."""
    order = np.argsort(along)
    ends = np.clip(at, along.min(), along.max())  # rounding at an end shortens no line
    reached = np.where(np.abs(at - ends) <= END, ends, at)
    gap = np.abs(np.interp(reached, along[order], there[order], np.nan, np.nan) - here)
    found: np.ndarray = np.minimum(np.nan_to_num(gap, nan=most), most)
    return found


if __name__ == "__main__":
    rung = sys.argv[3]
    tables = [pl.read_parquet(file, glob=False).filter(pl.col("rung") == rung) for file in sys.argv[1:3]]
    for case in tables[0]["case"].unique().sort():
        clean, faulted = (table.filter(pl.col("case") == case) for table in tables)
        file = Path(sys.argv[4]) / case / "lines.parquet" if len(sys.argv) > 4 else None
        size = grown_error_m(clean, faulted, pl.read_parquet(file, glob=False)) if file else moved(clean, faulted, "px")
        print(case, f"{size:.4g}", harm_of(size, GREW_M if file else MOVED["px"]))
