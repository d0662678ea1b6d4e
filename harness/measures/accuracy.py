"""Accuracy against ground truth, where a case has it: lateral error of matched lines, what missed and extra lines cost,
skill over the best constant line, and F1 of finding lines.

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
from harness.measures.match import Matches, match, pairs_in_frames
from harness.measures.stations import is_longitudinal, resample
from harness.model.grid import Grid

__all__ = ["Accuracy", "AccuracySums", "NearLines", "accuracy", "accuracy_sums", "f1_limits"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

MIN_CONSTANT_COST = 0.05  # of the match gate: a truth that moves less tells no skill


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
        cost: sum of the lateral cost over the stations that truth or candidate has, [3 bands].
        cost_stations: how many stations that is, [3 bands].
        constant_cost: the same sum of the best constant lines, which have the stations of the truth, [3 bands].
        true_stations: how many stations the truth has, [3 bands].
    """

    error: Floats
    stations: Ints
    cost: Floats
    cost_stations: Ints
    constant_cost: Floats
    true_stations: Ints
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
        lateral_cost: mean over the stations that truth or candidate has of |lateral error| up to the match gate; one
            that only one has (of a line that is missed, too short, extra or too long) counts the gate; [3].
        lateral_skill: 1 - cost / cost of the best constant lines, [3]: 1 perfect, 0 no better than what never moves;
            NaN where the truth itself moves too little to tell, less than MIN_CONSTANT_COST of the gate.
        f1: 2 found / (2 found + false + lost) at the three Chamfer limits, [3]; NaN without a true or a candidate line.
    """

    lateral_mae: Floats
    lateral_cost: Floats
    lateral_skill: Floats
    f1: Floats


@dataclass(frozen=True, slots=True)
class NearLines:
    """Pairs of true and candidate lines of one frame that may be within the largest Chamfer limit.

    Attributes:
        true_lines, candidates: the lines with something in the range of the stations, ascending.
        truth, candidate: lines of each pair, [pairs].
        distance: their Chamfer distance, [pairs].
    """

    true_lines: Ints
    candidates: Ints
    truth: Ints
    candidate: Ints
    distance: Floats


def f1_limits(grid: Grid) -> tuple[float, float, float]:
    """Chamfer limits of F1: 0.5, 1.0 and 1.5 m; in the image frame 1, 2 and 3 % of the width, as for the match gate."""
    gate = grid.thresholds.match_gate
    return gate / 3, 2 * gate / 3, gate


def accuracy_sums(
    truth: LineTable, candidate: LineTable, grid: Grid, frames: int, constant: Floats | None = None
) -> tuple[AccuracySums, Bools, NearLines]:
    """Compare lines with ground truth over some frames.

    The lateral error is that of lines matched by distance, slots left out, on every station both have. For F1 the lines
    along the road are cut to the range of the grid's stations first, so that nobody pays for what lies beyond it; at
    each limit as many lines as possible find a partner within it. Lines with nothing in that range do not count.

    Args:
        truth, candidate: lines of the same frames, of frames with ground truth only.
        grid: frame, stations and match gate.
        frames: how many frames there are, with or without lines.
        constant: best constant line of each true line, [lines, 51] (`harness.measures.truth`); None: there is none.

    Returns:
        (the sums; which true lines find a partner within the smallest limit, bool [lines]; the pairs F1 is told from).
    """
    lateral = [resample(lines, grid.stations, grid.frame) for lines in (truth, candidate)]
    matches = match(truth, candidate, grid, *lateral, by_slot=False)
    error = np.abs(lateral[1][matches.candidate] - lateral[0][matches.reference])
    error = error.reshape(len(matches), *grid.stations.shape)
    cost, count = _cost(lateral[0], lateral[1], matches, grid)
    never = np.full_like(lateral[0], np.nan) if constant is None else constant
    every, none = np.arange(len(truth)), np.zeros(0, np.int64)
    own = Matches(every, every, none, none)
    constant_cost, true_stations = _cost(lateral[0], never, own, grid)
    near = _near_lines(truth, candidate, lateral, grid)
    partners = _partners(near, grid)
    found = np.array([rows.size for rows in partners], np.int64)
    sums = AccuracySums(
        np.nansum(error, axis=(0, 2)),
        np.isfinite(error).sum(axis=(0, 2)),
        cost,
        count,
        constant_cost,
        true_stations,
        found,
        len(near.candidates) - found,
        len(near.true_lines) - found,
        frames,
    )
    hit = np.zeros(len(truth), bool)
    hit[partners[0]] = True
    return sums, hit, near


def _cost(truth: Floats, candidate: Floats, matches: Matches, grid: Grid) -> tuple[Floats, Ints]:
    """Sum of the lateral cost and number of stations that either has, both [3 bands]; `matches` pairs all lines."""
    gate, shape = grid.thresholds.match_gate, grid.stations.shape
    before, after = truth[matches.reference], candidate[matches.candidate]
    gap = np.minimum(np.abs(before - after), gate)
    cost = np.where(np.isfinite(before) ^ np.isfinite(after), gate, gap)
    lone = [np.where(np.isfinite(side), gate, np.nan) for side in (truth[matches.missing], candidate[matches.extra])]
    every = np.concatenate([cost, *lone]).reshape(-1, *shape)
    return np.nansum(every, axis=(0, 2)), np.isfinite(every).sum(axis=(0, 2))


def accuracy(sums: AccuracySums, grid: Grid) -> Accuracy:
    """Finish what `accuracy_sums` accumulated."""
    with np.errstate(invalid="ignore", divide="ignore"):
        cost, constant = sums.cost / sums.cost_stations, sums.constant_cost / sums.true_stations
        tells = constant >= MIN_CONSTANT_COST * grid.thresholds.match_gate
        f1 = 2 * sums.found / (2 * sums.found + sums.false + sums.lost)
        return Accuracy(sums.error / sums.stations, cost, np.where(tells, 1 - cost / constant, np.nan), f1)


def _cut(lines: LineTable, lateral: Floats, grid: Grid) -> tuple[LineTable, Ints]:
    """Lines along the road as their points on the stations, others whole, with two points or more; and which."""
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
    table = LineTable.from_points(kept.frame, [p for p in parts if len(p) >= 2], topology=kept.topology)
    return table, np.flatnonzero(keep)


def _near_lines(truth: LineTable, candidate: LineTable, lateral: list[Floats], grid: Grid) -> NearLines:
    """Pairs of lines of one topology whose boxes are within the largest limit of each other."""
    (true_lines, which), (lines, own) = (
        _cut(x, at, grid) for x, at in zip((truth, candidate), lateral, strict=True)
    )  # fmt: skip
    found = [(np.zeros(0, np.int64), np.zeros(0, np.int64))]
    for row, column in pairs_in_frames(true_lines.frame, lines.frame):
        fit = true_lines.topology[row] == lines.topology[column]
        fit &= boxes_gap(true_lines, lines, row, column) <= f1_limits(grid)[-1]
        found.append((row[fit], column[fit]))
    row, column = (np.concatenate(parts) for parts in zip(*found, strict=True))
    distance = chamfer(true_lines.take(row), lines.take(column))
    return NearLines(which, own, which[row], own[column], distance)


def _partners(near: NearLines, grid: Grid) -> list[Ints]:
    """True lines that find a partner within each of the three limits."""
    partners = []
    for limit in f1_limits(grid):
        fit = near.distance <= limit
        partners.append(near.truth[fit][assign(near.truth[fit], near.candidate[fit], near.distance[fit])])
    return partners
