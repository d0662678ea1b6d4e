"""What a pair of lines costs, and the cheapest choice of pairs."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from harness.measures import assignment
from harness.measures.assignment import alone_cost, assign, near_distance, pair_blocks, whole_distance
from tests.strategies import quick

GATE = 1.5


def cheapest(cost: np.ndarray, alone: float) -> float:
    """Every way to pair: the least sum, NaN being no pair, and one `alone` for a row and a column without partners."""
    n, m = cost.shape
    size = max(n, m)
    full = np.full((size, size), alone)
    full[:n, :m] = np.fmin(np.where(np.isnan(cost), alone, cost), alone)
    return min(sum(full[i, p[i]] for i in range(size)) for p in permutations(range(size)))


costs = hnp.arrays(
    np.float64, st.tuples(st.integers(1, 4), st.integers(1, 4)), elements=st.floats(0, 2) | st.just(np.nan)
)


@quick
@given(costs)
def test_the_chosen_pairs_are_the_cheapest_there_are(cost):
    row, column = np.nonzero(np.isfinite(cost))
    chosen = assign(row, column, cost[row, column], alone_cost(GATE))
    row, column = row[chosen], column[chosen]
    assert len(set(row.tolist())) == len(row)
    assert len(set(column.tolist())) == len(column)
    total = cost[row, column].sum() + (max(cost.shape) - len(row)) * alone_cost(GATE)
    assert total == pytest.approx(cheapest(cost, alone_cost(GATE)))


@quick
@given(costs)
def test_without_a_cost_of_being_alone_there_are_as_many_pairs_as_can_be(cost):
    row, column = np.nonzero(np.isfinite(cost))
    chosen = assign(row, column, cost[row, column])
    dear = 1000.0
    total = cost[row[chosen], column[chosen]].sum() + (max(cost.shape) - chosen.sum()) * dear
    assert total == pytest.approx(cheapest(cost, dear))


lateral = hnp.arrays(np.float64, (3, 51), elements=st.floats(-5, 5) | st.just(np.nan))


@quick
@given(lateral)
def test_distances_agree_with_the_slow_way(at):
    row, column = np.repeat(np.arange(3), 3), np.tile(np.arange(3), 3)
    near, whole = near_distance(at, at, row, column), whole_distance(at, at, row, column, GATE)
    for k, (i, j) in enumerate(zip(row, column, strict=True)):
        gap = np.abs(at[i] - at[j])
        common = gap[np.isfinite(gap)]
        first = gap[:17][np.isfinite(gap[:17])]
        expected = first if len(first) else common[:17]
        assert near[k] == pytest.approx(expected.mean() if len(expected) else np.nan, nan_ok=True)
        either = [
            GATE if np.isnan(a) or np.isnan(b) else min(abs(a - b), GATE)
            for a, b in zip(at[i], at[j], strict=True)
            if not (np.isnan(a) and np.isnan(b))
        ]
        assert whole[k] == pytest.approx(np.mean(either) if either else np.nan, nan_ok=True)


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 9)), min_size=1, max_size=8), st.integers(1, 7))
def test_blocks_hold_every_pair_once_and_no_more_than_they_may(rows, block):
    count, first = np.array(rows).T
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(assignment, "PAIRS_PER_BLOCK", block)
        blocks = list(pair_blocks(count, first))
    assert all(len(row) <= block or len(set(row.tolist())) == 1 for row, _ in blocks)
    found = [pair for row, column in blocks for pair in zip(row.tolist(), column.tolist(), strict=True)]
    assert found == [(i, b + k) for i, (n, b) in enumerate(rows) for k in range(n)]


def test_equal_pairs_go_by_their_order():
    row, column = np.repeat(np.arange(4), 4), np.tile(np.arange(4), 4)
    cost = assignment.order_cost(row, column, GATE)
    assert column[assign(row, column, cost, alone_cost(GATE))].tolist() == [0, 1, 2, 3]
