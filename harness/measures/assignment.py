"""Which of two sets of lines belong together: what a pair costs, and the cheapest choice of pairs.

The gate tests the *near* distance alone: the mean |lateral difference| over the stations of the near band that both
have, so that a line that bends away far ahead keeps its partner; without a common near station, over the nearest 17
common stations beyond. What a pair costs is that distance and a small share of the *whole* distance, the mean over all
stations that either has: a difference counts up to the gate, a station that only one line has counts the gate. So two
lines that share their near band and part ahead, as at a fork, are told apart.

A line without a partner costs what the worst pair within the gate does: pairs are chosen for the smallest sum, never
for their number. Among equals the order of the lines decides, so that lines that coincide keep their order.

Only pairs within the gate are ever held: memory goes with their number, not with lines times lines.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from harness.model.grid import STATIONS_PER_BAND

__all__ = [
    "WHOLE_LINE_SHARE",
    "alone_cost",
    "assign",
    "contested",
    "near_distance",
    "order_cost",
    "pair_blocks",
    "whole_distance",
]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

WHOLE_LINE_SHARE = 0.1  # python -m benchmarks.fork_match: without it forks are mixed up, from 0.02 to 1 all is alike
TIE_SHARE = 1e-5  # of the gate, for each place in the order: above float32 rounding, below any measure
_FARTHEST_PLACE = 100  # places in the order beyond which it costs no more
PAIRS_PER_BLOCK = 1 << 16


def alone_cost(gate: float) -> float:
    """What a line without a partner costs."""
    return (1 + WHOLE_LINE_SHARE) * gate


def near_distance(reference: Floats, candidate: Floats, row: Ints, column: Ints) -> Floats:
    """Mean |difference| over the common stations of the near band, else over the nearest common ones beyond.

    Args:
        reference, candidate: lateral positions at stations from near to far, the first 17 the near band, [lines,
            stations], NaN where a line does not reach.
        row, column: the two lines of each pair.

    Returns:
        float64 [pairs]; NaN where they have no station in common.
    """
    near = slice(0, STATIONS_PER_BAND)
    distance = _mean(np.abs(reference[row, near] - candidate[column, near]))
    beyond = np.flatnonzero(np.isnan(distance))
    if len(beyond):
        gap = np.abs(reference[row[beyond]] - candidate[column[beyond]])
        gap[np.cumsum(np.isfinite(gap), axis=1) > STATIONS_PER_BAND] = np.nan
        distance[beyond] = _mean(gap)
    return distance


def whole_distance(reference: Floats, candidate: Floats, row: Ints, column: Ints, gate: float) -> Floats:
    """Mean over the stations that either has of min(|difference|, gate); one that only one has counts the gate.

    Args and returns as for `near_distance`; never above the gate.
    """
    before, after = reference[row], candidate[column]
    gap = np.minimum(np.abs(before - after), gate)
    lone = np.isfinite(before) ^ np.isfinite(after)
    return _mean(np.where(lone, gate, gap))


def order_cost(row_place: NDArray[np.integer], column_place: NDArray[np.integer], gate: float) -> Floats:
    """What decides among pairs that are otherwise equal: how far apart the two stand in the order of their frame."""
    return TIE_SHARE * gate * np.minimum(np.abs(row_place - column_place), _FARTHEST_PLACE).astype(np.float64)


def contested(row: Ints, column: Ints) -> Bools:
    """Which of these pairs share a line with another of them, [pairs]: only among them there is a choice."""
    shared: Bools = (np.bincount(row)[row] > 1) | (np.bincount(column)[column] > 1)
    return shared


def pair_blocks(count: Ints, first: Ints) -> Iterator[tuple[Ints, Ints]]:
    """All pairs of each row with `count` neighbouring columns from `first` on, a bounded number at a time.

    Yields:
        (row, column) of at most PAIRS_PER_BLOCK pairs, or of one row.
    """
    ends = np.cumsum(count)
    start = 0
    while start < len(count):
        done = ends[start - 1] if start else 0
        stop = max(start + 1, int(np.searchsorted(ends, done + PAIRS_PER_BLOCK, side="right")))
        row = np.repeat(np.arange(start, stop), count[start:stop])
        begin = ends[start:stop] - count[start:stop] - done
        yield row, np.arange(len(row)) + np.repeat(first[start:stop] - begin, count[start:stop])
        start = stop


def assign(row: Ints, column: Ints, cost: Floats, alone: float | None = None) -> Bools:
    """Choose among possible pairs so that no line has two partners and the sum of costs is the smallest.

    Args:
        row, column: the two lines of each possible pair, [pairs]; numbers of one side mean one line each.
        cost: of each pair, never negative.
        alone: what a row and a column without partners cost together; None: as many pairs as can be, then the smallest
            sum.

    Returns:
        bool [pairs]. A pair that shares no line with another needs no search.
    """
    if len(row) == 0:
        return np.zeros(0, bool)
    shared = contested(row, column)
    chosen: Bools = ~shared if alone is None else ~shared & (cost <= alone)
    rest = np.flatnonzero(shared)
    if len(rest):
        dear = float(cost[rest].sum()) + 1 if alone is None else alone
        chosen[rest[_cheapest(row[rest], column[rest], cost[rest], dear)]] = True
    return chosen


def _cheapest(row: Ints, column: Ints, cost: Floats, alone: float) -> Ints:
    """Positions of the chosen pairs; every row has a column of its own beside, which stands for no partner."""
    from scipy.sparse import csr_array
    from scipy.sparse.csgraph import min_weight_full_bipartite_matching

    rows, row = np.unique(row, return_inverse=True)
    columns, column = np.unique(column, return_inverse=True)
    every = np.arange(len(rows))
    at = np.concatenate([row, every]), np.concatenate([column, len(columns) + every])
    weight = np.concatenate([cost, np.full(len(rows), alone)])
    raised = weight + 1  # a sparse table takes no weight for no pair, and every row has exactly one
    table = csr_array((raised, at), shape=(len(rows), len(columns) + len(rows)))
    _, partner = min_weight_full_bipartite_matching(table)
    return np.flatnonzero(partner[row] == column)


def _mean(values: Floats) -> Floats:
    """Mean of what is not NaN, [rows]; NaN where nothing is."""
    has = np.isfinite(values)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean: Floats = np.where(has, values, 0.0).sum(axis=1) / has.sum(axis=1)
    return mean
