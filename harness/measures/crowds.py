"""Frames with more lines than any road has: matching stays within a bounded number of pairs.

A frame of 10,000 lines has 10^8 pairs, and where the lines lie on top of one another all of them are within the gate.
So in a frame with more than MOST_CANDIDATES candidates a line is held against those nearest to it in lateral
position, and of these only the CHEAPEST are pairs it may get. Frames of fewer lines are matched over all their pairs,
as if there was no limit, but for a line with more than CHEAPEST candidates within the gate.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from harness.measures.assignment import pair_blocks

__all__ = ["CHEAPEST", "MOST_CANDIDATES", "cheapest_of_each", "pairs_nearby", "positions"]

MOST_CANDIDATES = 512
CHEAPEST = 32

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def positions(lateral: Floats) -> Floats:
    """Mean lateral position of each line over the stations it reaches, [lines]; 0 where it reaches none."""
    reached = np.isfinite(lateral)
    mean: Floats = np.where(reached, lateral, 0.0).sum(axis=1) / np.maximum(reached.sum(axis=1), 1)
    return mean


def pairs_nearby(
    reference_frame: Ints,
    candidate_frame: Ints,
    reference_position: Floats,
    candidate_position: Floats,
    gate: float,
) -> Iterator[tuple[Ints, Ints]]:
    """(reference line, candidate line) of one frame as two arrays of positions, a bounded number at a time.

    Args:
        reference_frame, candidate_frame: frame of each line; both ascend.
        reference_position, candidate_position: lateral position of each line.
        gate: of a match.

    Yields:
        Every pair of a frame, or of a crowded frame each reference line with the MOST_CANDIDATES nearest.
    """
    first = np.searchsorted(candidate_frame, reference_frame, side="left")
    count = np.searchsorted(candidate_frame, reference_frame, side="right") - first
    if not len(count) or count.max() <= MOST_CANDIDATES:
        yield from pair_blocks(count, first)
        return
    order = np.arange(len(candidate_frame))
    for frame in np.unique(reference_frame[count > MOST_CANDIDATES]):
        rows = slice(*np.searchsorted(reference_frame, [frame, frame + 1]))
        begin, size = int(first[rows.start]), int(count[rows.start])
        own = np.argsort(candidate_position[begin : begin + size], kind="stable")
        order[begin : begin + size] = begin + own
        rank = _ranks(reference_position[rows], candidate_position[begin : begin + size][own], gate)
        first[rows] = begin + np.clip(rank - MOST_CANDIDATES // 2, 0, size - MOST_CANDIDATES)
        count[rows] = MOST_CANDIDATES
    for row, place in pair_blocks(count, first):
        yield row, order[place]


def _ranks(wanted: Floats, ascending: Floats, gate: float) -> Ints:
    """Where each value belongs among ascending ones: as far into those within the gate as into its own within the gate.

    So values that lie on top of one another are spread over those that do so on the other side, in their order.
    """
    order = np.argsort(wanted, kind="stable")
    own = np.empty(len(wanted), np.int64)
    own[order] = np.arange(len(wanted))
    before, after = _within(wanted, wanted[order], gate)
    share = (own - before) / np.maximum(after - before, 1)
    first, last = _within(wanted, ascending, gate)
    ranks: Ints = (first + (last - first) * share).astype(np.int64)
    return ranks


def _within(wanted: Floats, ascending: Floats, gate: float) -> tuple[Ints, Ints]:
    """First and last but one of the ascending values within the gate of each."""
    return np.searchsorted(ascending, wanted - gate), np.searchsorted(ascending, wanted + gate, side="right")


def cheapest_of_each(row: Ints, cost: Floats) -> Ints:
    """Positions of the pairs that are among the CHEAPEST of their row, ascending.

    Args:
        row: of each pair.
        cost: of each pair.
    """
    if not len(row) or np.bincount(row).max() <= CHEAPEST:
        return np.arange(len(row))
    order = np.lexsort((cost, row))
    starts = np.searchsorted(row[order], row[order], side="left")
    return np.sort(order[np.arange(len(order)) - starts < CHEAPEST])
