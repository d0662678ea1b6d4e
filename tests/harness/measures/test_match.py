"""Which candidate line is which reference line."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.lines.table import CLOSED, NO_SLOT, LineTable
from harness.measures.chamfer import chamfer
from harness.measures.match import Matches, match, pairs_in_frames
from harness.measures.stations import is_longitudinal, resample
from harness.model.grid import Grid
from tests.harness.measures import slow_metrics as slow
from tests.strategies import IMAGE, VEHICLE, grids, line_tables, quick


def matched(reference: LineTable, candidate: LineTable, grid: Grid = VEHICLE, **kwargs: bool) -> Matches:
    lateral = [resample(lines, grid.stations, grid.frame) for lines in (reference, candidate)]
    return match(reference, candidate, grid, *lateral, **kwargs)


def lanes(*lateral: float, frame: int = 0, slot: object = NO_SLOT, far: float = 80) -> LineTable:
    """Straight lines along the road."""
    return LineTable.from_points([frame] * len(lateral), [[[0, y], [far, y]] for y in lateral], slot=slot)


def cost_of(reference: LineTable, candidate: LineTable, r: int, c: int, grid: Grid) -> float:
    """The cost that harness.measures.assignment defines, one pair at a time; NaN where the gate forbids the pair."""
    gate, stations = grid.thresholds.match_gate, grid.stations.ravel()
    before = [slow.lateral_at(reference.points(r), s, grid.frame) for s in stations]
    if not is_longitudinal(reference, grid.frame)[r] or np.isnan(before).all():
        distance = float(chamfer(reference.take([r]), candidate.take([c]))[0])
        return 1.1 * distance if distance <= gate else np.nan
    if candidate.topology[c] == CLOSED:
        return np.nan
    after = [slow.lateral_at(candidate.points(c), s, grid.frame) for s in stations]
    gap = np.abs(np.subtract(before, after))
    near = [g for g in gap[:17] if not np.isnan(g)] or [g for g in gap if not np.isnan(g)][:17] or [np.nan]
    lone = np.isnan(before) != np.isnan(after)
    whole = np.where(lone, gate, np.minimum(gap, gate))
    return float(np.mean(near) + 0.1 * np.nanmean(whole)) if np.mean(near) <= gate else np.nan


@quick
@given(st.data(), grids())
def test_agrees_with_trying_every_way_to_pair(data, grid):
    reference, candidate = data.draw(line_tables(grid)), data.draw(line_tables(grid))
    found = matched(reference, candidate, grid)
    pairs = list(zip(found.reference.tolist(), found.candidate.tolist(), strict=True))
    for frame in range(3):
        rows, columns = (np.flatnonzero(t.frame == frame).tolist() for t in (reference, candidate))
        slots: dict[tuple[int, int], list[int]] = {}
        for c in columns:
            slots.setdefault((int(candidate.slot[c]), int(candidate.topology[c])), []).append(c)
        by_slot = []
        for r in rows:
            key = int(reference.slot[r]), int(reference.topology[r])
            if key[0] != NO_SLOT and slots.get(key):
                by_slot.append((r, slots[key].pop(0)))
        here = [p for p in pairs if p[0] in rows]
        assert set(by_slot) <= set(here)
        taken_r, taken_c = {r for r, _ in by_slot}, {c for _, c in by_slot}
        rows, columns = ([k for k in every if k not in taken] for every, taken in ((rows, taken_r), (columns, taken_c)))
        cost = {}
        for r in rows:
            for c in columns:
                both = reference.slot[r] != NO_SLOT and candidate.slot[c] != NO_SLOT
                if not both and reference.topology[r] == candidate.topology[c]:
                    cost[r, c] = cost_of(reference, candidate, r, c, grid)
        cost = {pair: c for pair, c in cost.items() if not np.isnan(c)}
        rest = [p for p in here if p not in by_slot]
        assert all(p in cost for p in rest)
        alone = 1.1 * grid.thresholds.match_gate
        total = sum(cost[p] for p in rest) - len(rest) * alone
        np.testing.assert_allclose(total, slow.least_cost(cost, alone), atol=1e-3 * alone)


@quick
@given(line_tables(), line_tables())
def test_every_line_is_matched_once_or_left_over(reference, candidate):
    found = matched(reference, candidate)
    assert sorted([*found.reference, *found.missing]) == list(range(len(reference)))
    assert sorted([*found.candidate, *found.extra]) == list(range(len(candidate)))
    assert (np.diff(found.reference) > 0).all()
    np.testing.assert_array_equal(reference.frame[found.reference], candidate.frame[found.candidate])
    np.testing.assert_array_equal(reference.topology[found.reference], candidate.topology[found.candidate])


def test_the_order_of_the_candidate_lines_does_not_matter():
    found = matched(lanes(-1.8, 1.8, 5.4), lanes(5.3, -1.7, 1.9))
    assert found.candidate.tolist() == [1, 2, 0]


def test_lines_with_slots_match_by_slot_however_far_apart():
    found = matched(lanes(0, 9, slot=[0, 1]), lanes(9, 0, slot=[0, 1]))
    assert found.reference.tolist() == found.candidate.tolist() == [0, 1]


def test_lines_that_both_have_slots_never_match_across_slots():
    found = matched(lanes(0, slot=0), lanes(0, slot=1))
    assert (len(found), found.missing.tolist(), found.extra.tolist()) == (0, [0], [0])


def test_slots_can_be_left_out():
    found = matched(lanes(0, 9, slot=[0, 1]), lanes(9, 0, slot=[0, 1]), by_slot=False)
    assert found.candidate.tolist() == [1, 0]


def test_a_recording_without_slots_matches_a_decoder_with_slots_by_distance():
    found = matched(lanes(-1.8, 1.8, slot=[0, 1]), lanes(1.7, -1.7))
    assert found.candidate.tolist() == [1, 0]


def test_lines_that_share_a_slot_match_in_their_order():
    found = matched(lanes(0, 5, slot=0), lanes(3, 0, 9, slot=0))
    assert (found.candidate.tolist(), found.extra.tolist()) == ([0, 1], [2])


def test_a_line_that_bends_away_far_ahead_stays_matched():
    reference = lanes(0)
    candidate = LineTable.from_points([0], [[[0, 0], [20, 0.2], [80, 12]]])
    assert len(matched(reference, candidate)) == 1


def test_lines_without_a_common_near_station_match_by_what_they_share_beyond():
    reference = LineTable.from_points([0], [[[30, 0], [80, 0]]])
    assert len(matched(reference, lanes(1.4))) == 1
    assert len(matched(reference, lanes(1.6))) == 0


def test_beyond_the_near_band_too_only_the_nearest_stations_decide():
    reference = LineTable.from_points([0], [[[21, 0], [80, 0]]])
    assert len(matched(reference, LineTable.from_points([0], [[[21, 0.2], [40, 0.2], [80, 30]]]))) == 1


@pytest.mark.parametrize(("grid", "gate"), [(VEHICLE, 1.5), (IMAGE, 0.03 * 640)])
def test_the_gate_is_a_distance_of_the_frame(grid, gate):
    near, far = grid.edges[0][0], grid.edges[2][1]
    for aside, expected in ((gate * 0.999, 1), (gate * 1.001, 0)):
        ends = [[[near, y], [far, y]] if grid is VEHICLE else [[300 + y, near], [300 + y, far]] for y in (0, aside)]
        reference, candidate = (LineTable.from_points([0], [points]) for points in ends)
        assert len(matched(reference, candidate, grid)) == expected


def test_a_close_pair_wins_over_two_far_ones():
    # 0 and 0.1 are one line; the other two, 2.7 m apart, are missing and extra
    found = matched(lanes(0, 1.4), lanes(0.1, -1.3))
    assert (found.reference.tolist(), found.candidate.tolist()) == ([0], [0])
    assert (found.missing.tolist(), found.extra.tolist()) == ([1], [1])


def test_a_perfect_line_is_never_paired_with_its_neighbour():
    found = matched(lanes(0, 1.4), lanes(1.4, 2.8))
    assert (found.reference.tolist(), found.candidate.tolist()) == ([1], [0])


def test_lines_that_share_their_near_band_and_part_ahead_are_told_apart():
    straight, leaving = [[0, 0], [80, 0]], [[0, 0], [20, 0], [80, 6]]
    moved = [[[x, y + 0.03] for x, y in line] for line in (leaving, straight)]
    found = matched(LineTable.from_points([0, 0], [straight, leaving]), LineTable.from_points([0, 0], moved))
    assert found.candidate.tolist() == [1, 0]


def test_a_line_too_short_for_a_station_is_found_by_its_outline():
    short = LineTable.from_points([0], [[[81, 0], [89, 0]]])
    assert len(matched(short, short)) == 1


def test_lines_that_coincide_keep_their_order():
    found = matched(lanes(0, 0, 0), lanes(0.001, 0.001, 0.001))
    assert found.candidate.tolist() == [0, 1, 2]


def test_closed_shapes_match_closed_shapes_only():
    square = [[[10, 0], [14, 0], [14, 4], [10, 4]]]
    closed = LineTable.from_points([0], square, topology=CLOSED)
    opened = LineTable.from_points([0], square)
    moved = LineTable.from_points([0], [[[14.5, 4], [10.5, 4], [10.5, 0], [14.5, 0]]], topology=CLOSED)
    assert len(matched(closed, moved)) == 1
    assert len(matched(closed, opened)) == 0


def test_stop_lines_match_by_their_own_distance():
    line = [[[15, 5], [15, -5]], [[18, 5], [18, -5]]]
    found = matched(LineTable.from_points([0, 0], line), LineTable.from_points([0, 0], [line[1], line[0]]))
    assert found.candidate.tolist() == [1, 0]


def test_lines_of_different_frames_never_match():
    found = matched(lanes(0, frame=3), lanes(0, frame=4))
    assert (found.missing.tolist(), found.extra.tolist()) == ([0], [0])


def test_no_lines_match_nothing():
    found = matched(LineTable.empty(), lanes(0))
    assert (len(found), found.missing.tolist(), found.extra.tolist()) == (0, [], [0])
    assert len(matched(LineTable.empty(), LineTable.empty())) == 0


def test_pairs_in_frames_are_all_pairs_of_each_frame():
    ((row, column),) = pairs_in_frames(np.array([0, 0, 2, 5]), np.array([0, 2, 2, 3]))
    assert list(zip(row.tolist(), column.tolist(), strict=True)) == [(0, 0), (1, 0), (2, 1), (2, 2)]
