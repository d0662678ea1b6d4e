"""Lines on fixed stations."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.lines.table import CLOSED, OPEN, LineTable
from harness.measures import stations as module
from harness.measures.stations import is_longitudinal, reach, reach_gap, resample
from tests.harness.measures import slow_metrics as slow
from tests.strategies import IMAGE, VEHICLE, grids, line_tables, polylines, quick


@quick
@given(st.data(), grids())
def test_agrees_with_looking_for_the_segment_of_every_station(data, grid):
    lines = data.draw(line_tables(grid))
    lateral = resample(lines, grid.stations, grid.frame)
    assert lateral.shape == (len(lines), grid.stations.size)
    for i in range(len(lines)):
        if lines.topology[i] == CLOSED:
            assert np.isnan(lateral[i]).all()
            continue
        expected = [slow.lateral_at(lines.points(i), s, grid.frame) for s in grid.stations.ravel()]
        np.testing.assert_allclose(lateral[i], expected, rtol=0, atol=1e-9)


@quick
@given(st.data(), grids())
def test_the_order_of_the_points_does_not_matter(data, grid):
    points = data.draw(polylines(grid, tidy=True))
    there, back = LineTable.from_points([0], [points]), LineTable.from_points([0], [points[::-1]])
    np.testing.assert_array_equal(resample(there, grid.stations, grid.frame), resample(back, grid.stations, grid.frame))


@quick
@given(st.data())
def test_lines_that_share_their_stations_take_a_short_cut_with_the_same_result(data):
    x = np.array(data.draw(polylines(tidy=True, max_points=20)))[:, 0]
    beside = data.draw(st.lists(st.integers(-99, 99), min_size=3 * len(x), max_size=3 * len(x)))
    y = np.array(beside, np.float32).reshape(3, -1) / 8
    points = [np.stack([x, row], axis=1) for row in y]
    together = LineTable.from_points([0] * 3, points)
    with_another = LineTable.from_points([0] * 4, [*points, [[0, 0], [1, 1]]])
    np.testing.assert_array_equal(
        resample(together, VEHICLE.stations, "vehicle"), resample(with_another, VEHICLE.stations, "vehicle")[:3]
    )


def test_blocks_do_not_show(monkeypatch):
    rng = np.random.default_rng(1)
    points = [np.sort(rng.uniform(-5, 95, (n, 2)), axis=0) for n in rng.integers(0, 9, 50)]
    lines = LineTable.from_points(np.arange(50), points)
    whole = resample(lines, VEHICLE.stations, "vehicle")
    monkeypatch.setattr(module, "LINES_PER_BLOCK", 7)
    np.testing.assert_array_equal(resample(lines, VEHICLE.stations, "vehicle"), whole)


def test_stations_may_come_in_any_order():
    lines = LineTable.from_points([0], [[[0, 0], [80, 8]]])
    np.testing.assert_allclose(resample(lines, [40, 10, 20], "vehicle"), [[4, 1, 2]])


def test_lateral_is_left_positive_in_both_frames():
    to_the_left = LineTable.from_points([0], [[[300, 350], [100, 170]]])
    to_the_right = LineTable.from_points([0], [[[300, 350], [500, 170]]])
    left, right = (resample(t, [350, 170], "image")[0] for t in (to_the_left, to_the_right))
    assert left[1] > left[0]
    assert right[1] < right[0]


def test_a_line_that_hooks_back_is_measured_up_to_the_hook():
    lines = LineTable.from_points([0], [[[0, 0], [30, 3], [20, 9], [29, 9]]])
    lateral = resample(lines, [10, 25, 30, 35], "vehicle")[0]
    np.testing.assert_allclose(lateral, [1, 2.5, 3, np.nan])


def test_a_point_that_is_not_finite_is_left_out():
    lines = LineTable.from_points([0], [[[0, 0], [10, np.nan], [20, 2]]])
    np.testing.assert_allclose(resample(lines, [10], "vehicle"), [[1]])


def test_nothing_is_extrapolated_and_rounding_costs_no_station():
    x = np.linspace(0, 80, 33, dtype=np.float32)
    x[-1] = np.nextafter(np.float32(80), np.float32(0))
    lines = LineTable.from_points([0, 0], [np.stack([x, x], axis=1), [[5, 1], [70, 1]]])
    lateral = resample(lines, [0, 4.9, 5, 70, 70.1, 80], "vehicle")
    assert np.isfinite(lateral[0]).all()
    np.testing.assert_array_equal(np.isfinite(lateral[1]), [False, False, True, True, False, False])


def test_no_lines_and_lines_without_points_are_fine():
    assert resample(LineTable.empty(), VEHICLE.stations, "vehicle").shape == (0, 51)
    lines = LineTable.from_points([0, 1], [[], [[1, 1]]])
    assert np.isnan(resample(lines, VEHICLE.stations, "vehicle")).all()
    assert not is_longitudinal(lines, "vehicle").any()


@pytest.mark.parametrize(
    ("frame", "points", "topology", "expected"),
    [
        ("vehicle", [[0, 1], [60, 20]], OPEN, True),
        ("vehicle", [[15, 5], [15.5, -5]], OPEN, False),
        ("vehicle", [[0, 1], [60, 20]], CLOSED, False),
        ("vehicle", [[0, np.nan], [60, np.nan]], OPEN, False),
        ("image", [[10, 300], [300, 200]], OPEN, True),
        ("image", [[10, 300], [600, 290]], OPEN, False),
    ],
)
def test_lines_along_the_road_are_told_from_lines_across_it(frame, points, topology, expected):
    lines = LineTable.from_points([0], [points], topology=topology)
    assert is_longitudinal(lines, frame).tolist() == [expected]


def test_reach_is_the_farthest_station_and_its_gap_is_negative_where_the_candidate_ends_sooner():
    for grid, long, short in (
        (VEHICLE, [[0, 0], [80, 0]], [[0, 0], [61, 0]]),
        (IMAGE, [[300, 350], [310, 170]], [[300, 350], [310, 230]]),
    ):
        lines = LineTable.from_points([0, 0, 0], [long, short, []])
        lateral = resample(lines, grid.stations, grid.frame)
        ends = reach(lateral, grid.stations, grid.frame)
        last = max(s for s in grid.stations.ravel() if s <= 61) if grid is VEHICLE else 230
        np.testing.assert_allclose(ends, [grid.edges[2][1], last, np.nan])
        np.testing.assert_allclose(
            reach_gap(lateral[[0, 1, 0]], lateral[[1, 0, 2]], grid),
            [-abs(ends[0] - ends[1]), abs(ends[0] - ends[1]), np.nan],
        )
