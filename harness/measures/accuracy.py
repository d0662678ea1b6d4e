"""Accuracy against ground truth, where a case has it: lateral error of matched lines, and F1 of finding lines.

Accumulate with `accuracy_sums`, add the sums of chunks and cases, and finish with `accuracy`: a clip without lines
still counts its frames, and every false line in it.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from harness.lines.table import LineTable
from harness.measures.assignment import assign
from harness.measures.chamfer import boxes_gap, chamfer
from harness.measures.match import match, pairs_in_frames
from harness.measures.stations import is_longitudinal, resample
from harness.model.grid import Grid

__all__ = ["Accuracy", "AccuracySums", "accuracy", "accuracy_sums", "f1_limits"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class AccuracySums:
    """The accumulating half; add two of them to pool.

    Attributes:
        error: sum of |lateral error| over the stations of matched lines, [3 bands].
        stations: how many stations that is, [3 bands].
        found: matched lines (true positives) at each of three Chamfer limits, [3].
        false: candidate lines without a partner at each limit, [3].
        lost: true lines without a partner at each limit, [3].
        frames: frames looked at, with or without lines.
    """

    error: Floats
    stations: Ints
    found: Ints
    false: Ints
    lost: Ints
    frames: int

    def __add__(self, other: AccuracySums) -> AccuracySums:
        return AccuracySums(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(self)))


@dataclass(frozen=True, slots=True)
class Accuracy:
    """The finished measures.

    Attributes:
        lateral_mae: mean |lateral error| of matched lines, [3 bands], in the grid's unit; NaN without a station.
        f1: 2 found / (2 found + false + lost) at the three Chamfer limits, [3]; NaN without a true or a candidate line.
    """

    lateral_mae: Floats
    f1: Floats


def f1_limits(grid: Grid) -> tuple[float, float, float]:
    """Chamfer limits of F1: 0.5, 1.0 and 1.5 m; in the image frame 1, 2 and 3 % of the width, as for the match gate."""
    gate = grid.thresholds.match_gate
    return gate / 3, 2 * gate / 3, gate


def accuracy_sums(truth: LineTable, candidate: LineTable, grid: Grid, frames: int) -> AccuracySums:
    """Compare lines with ground truth over some frames.

    The lateral error is that of lines matched by distance, slots left out, on every station both have. For F1 the lines
    along the road are cut to the range of the grid's stations first, so that nobody pays for what lies beyond it; at
    each limit as many lines as possible find a partner within it. Lines with nothing in that range do not count.

    Args:
        truth, candidate: lines of the same frames, of frames with ground truth only.
        grid: frame, stations and match gate.
        frames: how many frames there are, with or without lines.
    """
    lateral = [resample(lines, grid.stations, grid.frame) for lines in (truth, candidate)]
    matches = match(truth, candidate, grid, *lateral, by_slot=False)
    error = np.abs(lateral[1][matches.candidate] - lateral[0][matches.reference])
    error = error.reshape(len(matches), *grid.stations.shape)
    cut = [_cut(lines, at, grid) for lines, at in zip((truth, candidate), lateral, strict=True)]
    found = _found(cut[0], cut[1], grid)
    return AccuracySums(
        np.nansum(error, axis=(0, 2)),
        np.isfinite(error).sum(axis=(0, 2)),
        found,
        len(cut[1]) - found,
        len(cut[0]) - found,
        frames,
    )


def accuracy(sums: AccuracySums) -> Accuracy:
    """Finish what `accuracy_sums` accumulated."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return Accuracy(sums.error / sums.stations, 2 * sums.found / (2 * sums.found + sums.false + sums.lost))


def _cut(lines: LineTable, lateral: Floats, grid: Grid) -> LineTable:
    """Lines along the road as their points on the stations, others whole; lines without two points left are dropped."""
    stations = np.unique(grid.stations, return_index=True)[1]
    x_or_v, lateral = grid.stations.ravel()[stations], lateral[:, stations]
    along = is_longitudinal(lines, grid.frame)
    parts = []
    for i in range(len(lines)):
        if along[i]:
            has = np.isfinite(lateral[i])
            pair = (x_or_v[has], lateral[i, has]) if grid.frame == "vehicle" else (-lateral[i, has], x_or_v[has])
            parts.append(np.stack(pair, axis=1))
        else:
            parts.append(lines.points(i))
    keep = np.array([len(p) >= 2 for p in parts], bool)
    kept = lines.take(keep)
    return LineTable.from_points(kept.frame, [p for p in parts if len(p) >= 2], topology=kept.topology)


def _found(truth: LineTable, candidate: LineTable, grid: Grid) -> Ints:
    """Lines that find a partner within each limit, [3]."""
    found = [(np.zeros(0, np.int64), np.zeros(0, np.int64))]
    for row, column in pairs_in_frames(truth.frame, candidate.frame):
        fit = truth.topology[row] == candidate.topology[column]
        fit &= boxes_gap(truth, candidate, row, column) <= f1_limits(grid)[-1]
        found.append((row[fit], column[fit]))
    row, column = (np.concatenate(parts) for parts in zip(*found, strict=True))
    distance = chamfer(truth.take(row), candidate.take(column))
    counts = []
    for limit in f1_limits(grid):
        near = distance <= limit
        counts.append(assign(row[near], column[near], distance[near]).sum())
    return np.array(counts, np.int64)
