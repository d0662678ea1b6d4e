"""Part A13: 10,000 lines without slots in one frame are matched in bounded memory; frames of roads as ever."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from harness.lines.table import LineTable
from harness.measures import crowds
from harness.measures.crowds import CHEAPEST, cheapest_of_each, pairs_nearby
from harness.measures.match import Matches, match, pairs_in_frames
from harness.measures.stations import resample
from harness.measures.tracks import Tracker
from harness.model.grid import vehicle_grid

GRID = vehicle_grid()
GATE = GRID.thresholds.match_gate
MANY = 1500
MEMORY_BYTES = 200 * 2**20
X_M = np.linspace(0, 80, 9)


def _matched(before_m: NDArray[np.float64], after_m: NDArray[np.float64], frame: int = 0) -> Matches:
    tables = [
        LineTable.from_points(np.full(len(y), frame), [np.stack([X_M, np.full(len(X_M), v)], 1) for v in y])
        for y in (before_m, after_m)
    ]
    return match(*tables, GRID, *(resample(t, GRID.stations.ravel(), GRID.frame) for t in tables))  # type: ignore[arg-type]  # two and two


@pytest.mark.parametrize("kind", ["apart", "on top of one another", "at random"])
def test_a_crowd_is_matched_within_memory(kind: str) -> None:
    lateral = {
        "apart": np.linspace(-5000, 5000, MANY),
        "on top of one another": np.zeros(MANY),
        "at random": np.random.default_rng(0).uniform(-20, 20, MANY),
    }[kind]
    tracemalloc.start()
    found = _matched(lateral, lateral + 0.05)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < MEMORY_BYTES
    assert len(found) >= 0.95 * MANY
    assert np.abs(lateral[found.candidate] + 0.05 - lateral[found.reference]).max() <= GATE
    if kind != "at random":
        np.testing.assert_array_equal(found.candidate, found.reference)


def _followed(lateral_m: NDArray[np.float64], frames: int) -> NDArray[np.int32]:
    """Tracks of parallel lines, the same in every frame."""
    points = [np.stack([X_M, np.full(len(X_M), v)], 1) for _ in range(frames) for v in lateral_m]
    lines = LineTable.from_points(np.repeat(np.arange(frames), len(lateral_m)), points)
    return Tracker(GATE).update(lines, resample(lines, GRID.stations.ravel(), GRID.frame)).track


@pytest.mark.parametrize("kind", ["apart", "at random"])
def test_a_crowd_is_followed_within_memory(kind: str) -> None:
    lateral = {"apart": np.linspace(-5000, 5000, MANY), "at random": np.random.default_rng(0).uniform(-20, 20, MANY)}
    tracemalloc.start()
    track = _followed(lateral[kind], 2)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < MEMORY_BYTES
    same = track[:MANY] == track[MANY:]
    assert same.mean() > 0.95


def test_a_crowd_keeps_the_partners_that_a_search_over_all_pairs_gives(monkeypatch: pytest.MonkeyPatch) -> None:
    """Parallel lines 10 cm apart, some of them missing on one side."""
    draw = np.random.default_rng(3)
    lateral = np.arange(700) * 0.1
    one, other = lateral[draw.random(700) > 0.05], lateral[draw.random(700) > 0.05] + 0.01
    limited = _matched(one, other)
    monkeypatch.setattr(crowds, "MOST_CANDIDATES", 10**9)
    monkeypatch.setattr("harness.measures.match.CHEAPEST", 10**9)
    monkeypatch.setattr(crowds, "CHEAPEST", 10**9)
    whole = _matched(one, other)
    gaps = [np.abs(one[m.reference] - other[m.candidate]).sum() for m in (limited, whole)]
    assert len(limited) == len(whole)
    assert gaps[0] == pytest.approx(gaps[1], abs=1e-6)


@given(st.lists(st.integers(0, 5), max_size=30).map(sorted), st.lists(st.integers(0, 5), max_size=30).map(sorted))
@settings(max_examples=50, deadline=None)
def test_without_a_crowd_they_are_all_pairs(before: list[int], after: list[int]) -> None:
    frames = np.array(before, np.int64), np.array(after, np.int64)
    draw = np.random.default_rng(len(before))
    places = draw.normal(size=len(before)), draw.normal(size=len(after))
    found = [np.concatenate(part).tolist() for part in zip(*pairs_nearby(*frames, *places, GATE), strict=True)]
    wanted = [np.concatenate(part).tolist() for part in zip(*pairs_in_frames(*frames), strict=True)]
    assert found == wanted


def test_the_cheapest_of_each_row_are_kept() -> None:
    draw = np.random.default_rng(0)
    row = np.sort(draw.integers(0, 5, 400))
    cost = draw.random(400)
    kept = cheapest_of_each(row, cost)
    for one in range(5):
        own = np.sort(cost[row == one])[:CHEAPEST]
        np.testing.assert_array_equal(np.sort(cost[kept][row[kept] == one]), own)
    assert cheapest_of_each(np.arange(3), np.ones(3)).tolist() == [0, 1, 2]
