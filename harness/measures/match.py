"""Which candidate line is which reference line, frame by frame (docs/DESIGN.md section 4).

Lines that both have a slot match where the slots are equal, however far apart they are. All others match by distance
(`harness.measures.assignment`): pairs within the gate, for the smallest sum of costs. Open lines match open ones,
closed lines closed ones. Unmatched reference lines are `missing`, unmatched candidate lines `extra`.

Closed lines, open lines where the reference does not run along the road, and lines too short to have a station use the
symmetric Chamfer distance.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.lines.table import NO_SLOT, LineTable
from harness.measures.assignment import (
    PAIRS_PER_BLOCK,
    WHOLE_LINE_SHARE,
    alone_cost,
    assign,
    contested,
    near_distance,
    order_cost,
    pair_blocks,
    whole_distance,
)
from harness.measures.chamfer import boxes_gap, chamfer
from harness.measures.crowds import CHEAPEST, cheapest_of_each, pairs_nearby, positions
from harness.measures.stations import is_longitudinal
from harness.model.grid import Grid

__all__ = ["Matches", "match", "pairs_in_frames"]

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
    side = _Side(reference, candidate, grid, reference_lateral, candidate_lateral)
    free = _others(row, len(reference)), _others(column, len(candidate))
    pair_row, pair_column, cost = side.possible_pairs(*free, by_slot=by_slot)
    chosen = assign(pair_row, pair_column, cost, alone_cost(grid.thresholds.match_gate))
    row, column = np.concatenate([row, pair_row[chosen]]), np.concatenate([column, pair_column[chosen]])
    order = np.argsort(row)
    return Matches(row[order], column[order], _others(row, len(reference)), _others(column, len(candidate)))


def pairs_in_frames(reference_frame: Ints, candidate_frame: Ints) -> Iterator[tuple[Ints, Ints]]:
    """Every (reference line, candidate line) of one frame as two arrays of positions, a bounded number at a time.

    Args:
        reference_frame, candidate_frame: frame of each line; both ascend.
    """
    first = np.searchsorted(candidate_frame, reference_frame, side="left")
    count = np.searchsorted(candidate_frame, reference_frame, side="right") - first
    return pair_blocks(count, first)


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


@dataclass(frozen=True)
class _Side:
    """The lines of both sides and where they are."""

    reference: LineTable
    candidate: LineTable
    grid: Grid
    reference_lateral: Floats
    candidate_lateral: Floats

    def possible_pairs(self, rows: Ints, columns: Ints, *, by_slot: bool) -> tuple[Ints, Ints, Floats]:
        """(reference line, candidate line, cost) of every pair of these lines that the gate allows."""
        aside = ~is_longitudinal(self.reference, self.grid.frame) | ~np.isfinite(self.reference_lateral).any(axis=1)
        found = [(_none(), _none(), np.zeros(0))]
        frames = self.reference.frame[rows], self.candidate.frame[columns]
        places = positions(self.reference_lateral[rows]), positions(self.candidate_lateral[columns])
        for row, column in pairs_nearby(*frames, *places, self.grid.thresholds.match_gate):
            row, column = rows[row], columns[column]
            fit = self.reference.topology[row] == self.candidate.topology[column]
            if by_slot:
                fit &= (self.reference.slot[row] == NO_SLOT) | (self.candidate.slot[column] == NO_SLOT)
            for wanted, cost_of in ((fit & ~aside[row], self._along), (fit & aside[row], self._across)):
                if wanted.any():
                    found.append(self._cheapest(*cost_of(row[wanted], column[wanted])))
        row, column, cost = (np.concatenate(parts) for parts in zip(*found, strict=True))
        gate = self.grid.thresholds.match_gate
        unsure = np.flatnonzero(contested(row, column) & ~aside[row])  # the whole line counts where there is a choice
        lateral = self.reference_lateral, self.candidate_lateral
        for part in np.array_split(unsure, len(unsure) // PAIRS_PER_BLOCK + 1):
            cost[part] += WHOLE_LINE_SHARE * whole_distance(*lateral, row[part], column[part], gate)
        return row, column, cost + self._order(row, column)

    def _order(self, row: Ints, column: Ints) -> Floats:
        """What the order of the lines adds to the cost of pairs."""
        places = self.reference.line_in_frame()[row], self.candidate.line_in_frame()[column]
        return order_cost(*places, self.grid.thresholds.match_gate)

    def _cheapest(self, row: Ints, column: Ints, cost: Floats) -> tuple[Ints, Ints, Floats]:
        """Of each reference line the pairs that it may get (`harness.measures.crowds`)."""
        kept = cheapest_of_each(row, cost + self._order(row, column)) if len(row) > CHEAPEST else slice(None)
        return row[kept], column[kept], cost[kept]

    def _along(self, row: Ints, column: Ints) -> tuple[Ints, Ints, Floats]:
        """Lines along the road, at their near distance."""
        near = near_distance(self.reference_lateral, self.candidate_lateral, row, column)
        kept = near <= self.grid.thresholds.match_gate
        return row[kept], column[kept], near[kept]

    def _across(self, row: Ints, column: Ints) -> tuple[Ints, Ints, Floats]:
        """Lines without stations."""
        gate = self.grid.thresholds.match_gate
        kept = boxes_gap(self.reference, self.candidate, row, column) <= gate
        row, column = row[kept], column[kept]
        distance = chamfer(self.reference.take(row), self.candidate.take(column))
        kept = distance <= gate
        return row[kept], column[kept], (1 + WHOLE_LINE_SHARE) * distance[kept]


def _others(taken: Ints, count: int) -> Ints:
    free = np.ones(count, bool)
    free[taken] = False
    return np.flatnonzero(free)


def _none() -> Ints:
    return np.zeros(0, np.int64)
