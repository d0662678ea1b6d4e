"""Which candidate line is which reference line, frame by frame (docs/DESIGN.md section 4).

Lines that both have a slot match where the slots are equal, however far apart they are. All others match by distance:
as many pairs as the gate allows, and among those the smallest sum (the Hungarian method). Open lines match open ones,
closed lines closed ones. Unmatched reference lines are `missing`, unmatched candidate lines `extra`.

The distance of two lines is the mean |lateral difference| over the stations of the near band that both have, so that a
line that bends away far ahead stays matched; without a common near station it is the mean over the nearest 17 common
stations beyond. Closed lines, and open lines where the reference does not run along the road, use the symmetric Chamfer
distance.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.lines.table import NO_SLOT, LineTable
from harness.measures.chamfer import chamfer
from harness.measures.stations import is_longitudinal
from harness.model.grid import STATIONS_PER_BAND, Grid

__all__ = ["Matches", "assign", "match", "pairs_in_frames"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Matches:
    """Pairs of lines and what was left over; all are positions in the two tables, int64, ascending in `reference`.

    Attributes:
        reference, candidate: [pairs], line reference[i] is line candidate[i].
        missing: reference lines without a partner.
        extra: candidate lines without a partner.
    """

    reference: Ints
    candidate: Ints
    missing: Ints
    extra: Ints

    def __len__(self) -> int:
        return len(self.reference)


def match(
    reference: LineTable,
    candidate: LineTable,
    grid: Grid,
    reference_lateral: Floats,
    candidate_lateral: Floats,
    *,
    by_slot: bool = True,
) -> Matches:
    """Match the lines of all frames.

    Args:
        reference, candidate: lines of the same frames.
        grid: stations and the gate, `thresholds.match_gate`.
        reference_lateral, candidate_lateral: both on the stations of the grid, [lines, 51], NaN where a line does not
            reach (`harness.measures.stations.resample`).
        by_slot: False leaves slots out, as for ground truth, whose slots mean something else.

    Returns:
        Matches. Several lines with one slot in one frame match in their order.
    """
    row, column = _by_slot(reference, candidate) if by_slot else (_none(), _none())
    free_row, free_column = _others(row, len(reference)), _others(column, len(candidate))
    pair_row, pair_column = pairs_in_frames(reference.frame[free_row], candidate.frame[free_column])
    pair_row, pair_column = free_row[pair_row], free_column[pair_column]
    fit = reference.topology[pair_row] == candidate.topology[pair_column]
    if by_slot:
        fit &= (reference.slot[pair_row] == NO_SLOT) | (candidate.slot[pair_column] == NO_SLOT)
    pair_row, pair_column = pair_row[fit], pair_column[fit]
    if len(pair_row):
        distance = _distance(reference, candidate, grid, reference_lateral, candidate_lateral, pair_row, pair_column)
        near = distance <= grid.thresholds.match_gate
        pair_row, pair_column = pair_row[near], pair_column[near]
        chosen = assign(reference.frame[pair_row], pair_row, pair_column, distance[near])
        row, column = np.concatenate([row, pair_row[chosen]]), np.concatenate([column, pair_column[chosen]])
    order = np.argsort(row)
    return Matches(row[order], column[order], _others(row, len(reference)), _others(column, len(candidate)))


def pairs_in_frames(reference_frame: Ints, candidate_frame: Ints) -> tuple[Ints, Ints]:
    """Every (reference line, candidate line) of one frame, as two arrays of positions; both inputs ascend."""
    first = np.searchsorted(candidate_frame, reference_frame, side="left")
    count = np.searchsorted(candidate_frame, reference_frame, side="right") - first
    row = np.repeat(np.arange(len(reference_frame)), count)
    begin = np.cumsum(count) - count
    return row, np.arange(len(row)) + np.repeat(first - begin, count)


def assign(frame: Ints, row: Ints, column: Ints, cost: Floats) -> Bools:
    """Choose among possible pairs so that no line has two partners: the most pairs, then the smallest sum of costs.

    Args:
        frame: frame of each possible pair, [pairs], ascending; rows and columns of different frames differ.
        row, column: the two lines of each possible pair.
        cost: never negative.

    Returns:
        bool [pairs]. Pairs that share no line with another need no search; only the rest is solved, frame by frame.
    """
    if len(row) == 0:
        return np.zeros(0, bool)
    chosen: Bools = (np.bincount(row)[row] == 1) & (np.bincount(column)[column] == 1)
    rest = np.flatnonzero(~chosen)
    for pairs in np.split(rest, np.flatnonzero(np.diff(frame[rest])) + 1):
        if len(pairs):
            chosen[pairs[_hungarian(row[pairs], column[pairs], cost[pairs])]] = True
    return chosen


def _hungarian(row: Ints, column: Ints, cost: Floats) -> Ints:
    """Positions of the chosen pairs of one frame."""
    from scipy.optimize import linear_sum_assignment

    rows, row = np.unique(row, return_inverse=True)
    columns, column = np.unique(column, return_inverse=True)
    position = np.full((len(rows), len(columns)), -1)
    position[row, column] = np.arange(len(cost))
    table = np.full(position.shape, cost.sum() + 1)  # dearer than any set of possible pairs
    table[row, column] = cost
    picked: Ints = position[linear_sum_assignment(table)]
    return picked[picked >= 0]


def _by_slot(reference: LineTable, candidate: LineTable) -> tuple[Ints, Ints]:
    """Pairs of equal frame, slot, topology and place among the lines that share these."""
    ranks = max(len(reference), len(candidate))
    before, rows = _slot_keys(reference, ranks)
    after, columns = _slot_keys(candidate, ranks)
    _, row, column = np.intersect1d(before, after, assume_unique=True, return_indices=True)
    return rows[row], columns[column]


def _slot_keys(lines: LineTable, ranks: int) -> tuple[Ints, Ints]:
    """(one number for frame, slot, topology and rank among equals, line), for lines with a slot."""
    slotted = np.flatnonzero(lines.slot != NO_SLOT)
    slots = np.iinfo(lines.slot.dtype).max + 1
    key = (lines.frame[slotted] * slots + lines.slot[slotted]) * 2 + lines.topology[slotted]
    order = np.argsort(key, kind="stable")
    key = key[order]
    rank = np.arange(len(key)) - np.searchsorted(key, key)
    return key * ranks + rank, slotted[order]


def _distance(
    reference: LineTable,
    candidate: LineTable,
    grid: Grid,
    reference_lateral: Floats,
    candidate_lateral: Floats,
    row: Ints,
    column: Ints,
) -> Floats:
    """Distance of each possible pair, [pairs]; NaN where they have nothing in common."""
    along = is_longitudinal(reference, grid.frame)[row]
    distance = np.full(len(row), np.nan)
    distance[along] = _lateral_distance(reference_lateral, candidate_lateral, row[along], column[along])
    if not along.all():
        distance[~along] = chamfer(reference.take(row[~along]), candidate.take(column[~along]))
    return distance


def _lateral_distance(reference: Floats, candidate: Floats, row: Ints, column: Ints) -> Floats:
    """Mean |difference| over the common stations of the near band, else over the nearest common ones beyond."""
    near = slice(0, STATIONS_PER_BAND)
    distance = _mean(np.abs(reference[row, near] - candidate[column, near]))
    beyond = np.flatnonzero(np.isnan(distance))
    if len(beyond):
        gap = np.abs(reference[row[beyond]] - candidate[column[beyond]])
        gap[np.cumsum(np.isfinite(gap), axis=1) > STATIONS_PER_BAND] = np.nan
        distance[beyond] = _mean(gap)
    return distance


def _mean(values: Floats) -> Floats:
    """Mean of what is not NaN, [rows]; NaN where nothing is."""
    has = np.isfinite(values)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean: Floats = np.where(has, values, 0.0).sum(axis=1) / has.sum(axis=1)
    return mean


def _others(taken: Ints, count: int) -> Ints:
    free = np.ones(count, bool)
    free[taken] = False
    return np.flatnonzero(free)


def _none() -> Ints:
    return np.zeros(0, np.int64)
