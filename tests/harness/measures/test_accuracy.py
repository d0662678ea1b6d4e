"""Accuracy against ground truth."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings

from harness.lines.table import CLOSED, OPEN, LineTable, concat
from harness.measures.accuracy import AccuracySums, accuracy, accuracy_sums, f1_limits
from harness.measures.stations import is_longitudinal
from harness.measures.truth import Steadiness, truth_lines
from harness.model.grid import Grid
from tests.harness.measures import slow_metrics as slow
from tests.strategies import IMAGE, VEHICLE, line_tables, quick


def lanes(*lateral: float, frame: int = 0, near: float = 0, far: float = 80, slot: int = -1) -> LineTable:
    return LineTable.from_points([frame] * len(lateral), [[[near, y], [far, y]] for y in lateral], slot=slot)


def finished(truth: LineTable, candidate: LineTable, frames: int = 1, grid: Grid = VEHICLE):
    return accuracy(accuracy_sums(truth, candidate, grid, frames)[0], grid)


def on_stations(lines: LineTable, i: int) -> np.ndarray:
    """One line as F1 sees it: cut to the stations where it runs along the road."""
    if not is_longitudinal(lines, "vehicle")[i]:
        return lines.points(i)
    at = np.unique(VEHICLE.stations)
    cut = np.array([(s, slow.lateral_at(lines.points(i), s, "vehicle")) for s in at])
    return cut[np.isfinite(cut[:, 1])]


@settings(quick, max_examples=25)
@given(line_tables(max_lines=4), line_tables(max_lines=4))
def test_counts_agree_with_trying_every_way_to_pair(truth, candidate):
    sums = accuracy_sums(truth, candidate, VEHICLE, 3)[0]
    for k, limit in enumerate((0.5, 1.0, 1.5)):
        found = true_lines = candidate_lines = 0
        for frame in range(3):
            cost = {}
            rows = [i for i in np.flatnonzero(truth.frame == frame) if len(on_stations(truth, i)) > 1]
            columns = [i for i in np.flatnonzero(candidate.frame == frame) if len(on_stations(candidate, i)) > 1]
            for r in rows:
                for c in columns:
                    closed = truth.topology[r] == CLOSED
                    if truth.topology[r] == candidate.topology[c]:
                        d = slow.chamfer(on_stations(truth, r), closed, on_stations(candidate, c), closed)
                        if d <= limit:
                            cost[r, c] = d
            found += slow.best_pairs(cost)[0]
            true_lines, candidate_lines = true_lines + len(rows), candidate_lines + len(columns)
        assert sums.found[k] == found
        assert sums.lost[k] == true_lines - found
        assert sums.false[k] == candidate_lines - found


def test_the_error_is_that_of_each_band():
    truth = lanes(1.8)
    candidate = LineTable.from_points([0], [[[0, 1.8], [20, 1.8], [40, 2.2], [80, 2.2]]])
    np.testing.assert_allclose(finished(truth, candidate).lateral_mae, [0, 0.2, 0.4], atol=1e-6)


def test_a_perfect_candidate_finds_everything_and_nothing_else():
    found = finished(lanes(-1.8, 1.8), lanes(1.8, -1.8))
    assert found.f1.tolist() == [1, 1, 1]
    assert found.lateral_mae.tolist() == [0, 0, 0]


def test_the_limits_are_half_a_metre_apart_and_each_counts_by_itself():
    np.testing.assert_allclose(f1_limits(VEHICLE), (0.5, 1.0, 1.5))
    np.testing.assert_allclose(f1_limits(IMAGE), (6.4, 12.8, 19.2))
    assert finished(lanes(0), lanes(0.7)).f1.tolist() == [0, 1, 1]
    assert finished(lanes(0), lanes(1.2)).f1.tolist() == [0, 0, 1]


def test_missing_and_false_lines_both_cost():
    assert finished(lanes(0, 4), lanes(0)).f1[0] == pytest.approx(2 / 3)
    assert finished(lanes(0), lanes(0, 4)).f1[0] == pytest.approx(2 / 3)


def test_nobody_pays_for_what_lies_beyond_the_grid():
    assert finished(lanes(0, far=300, near=-50), lanes(0.1)).f1.tolist() == [1, 1, 1]
    assert np.isnan(finished(lanes(0, near=90, far=120), LineTable.empty()).f1).all()


def test_a_closed_shape_is_not_found_by_an_open_line():
    square = [[[10, 0], [14, 0], [14, 4], [10, 4]]]
    closed, opened = (LineTable.from_points([0], square, topology=t) for t in (CLOSED, OPEN))
    assert finished(closed, closed).f1.tolist() == [1, 1, 1]
    assert finished(closed, opened).f1.tolist() == [0, 0, 0]


def test_slots_of_the_truth_mean_something_else():
    assert finished(lanes(0, slot=0), lanes(0, slot=3)).lateral_mae.tolist() == [0, 0, 0]


def test_a_clip_without_lines_counts_its_frames_and_a_false_line_in_it_counts():
    empty = accuracy_sums(LineTable.empty(), LineTable.empty(), VEHICLE, 90)[0]
    false = accuracy_sums(LineTable.empty(), lanes(0), VEHICLE, 10)[0]
    good = accuracy_sums(lanes(0), lanes(0), VEHICLE, 10)[0]
    assert np.isnan(accuracy(empty, VEHICLE).f1).all()
    assert np.isnan(accuracy(empty, VEHICLE).lateral_mae).all()
    pooled = empty + false + good
    assert isinstance(pooled, AccuracySums)
    assert pooled.frames == 110
    assert pooled.false.tolist() == [1, 1, 1]
    np.testing.assert_allclose(accuracy(pooled, VEHICLE).f1, 2 / 3)


def test_pooling_chunks_equals_measuring_at_once():
    rng = np.random.default_rng(8)

    def lines(frame: int) -> LineTable:
        return lanes(*rng.normal([-1.8, 1.8], 0.7), frame=frame)

    pairs = [(lines(f), lines(f)) for f in range(12)]
    whole = accuracy_sums(concat([p[0] for p in pairs]), concat([p[1] for p in pairs]), VEHICLE, 12)[0]
    parts = [accuracy_sums(*p, VEHICLE, 1)[0] for p in pairs]
    total = parts[0]
    for part in parts[1:]:
        total = total + part
    np.testing.assert_allclose(total.error, whole.error)
    for name in ("stations", "found", "false", "lost"):
        np.testing.assert_array_equal(getattr(total, name), getattr(whole, name))
    assert 0 < whole.found[0] < 24


def test_works_in_the_image_frame():
    truth = LineTable.from_points([0], [[[300, 350], [320, 170]]])
    candidate = LineTable.from_points([0], [[[302, 350], [322, 170]]])
    found = finished(truth, candidate, grid=IMAGE)
    np.testing.assert_allclose(found.lateral_mae, 2, atol=1e-4)
    assert found.f1.tolist() == [1, 1, 1]


FRAMES = 60
ROAD_M = 0.8 * np.sin(np.arange(FRAMES) / 8)  # what the road does at 80 m, less near


def road(*lateral: float, shape: np.ndarray = ROAD_M) -> LineTable:
    """Lines along a road that turns left and right."""
    x = np.linspace(0, 80, 17)
    points = [np.stack([x, y + b * (x / 40) ** 2], axis=1) for b in shape for y in lateral]
    return LineTable.from_points(np.repeat(np.arange(len(shape)), len(lateral)), points)


def skill(truth: LineTable, candidate: LineTable) -> np.ndarray:
    known = truth_lines(truth, VEHICLE)
    return accuracy(accuracy_sums(truth, candidate, VEHICLE, FRAMES, known.constant)[0], VEHICLE).lateral_skill


def test_skill_is_one_for_the_truth_and_none_for_lines_that_never_move():
    truth = road(-1.8, 1.8)
    np.testing.assert_allclose(skill(truth, truth)[2], 1)
    frozen = [skill(truth, road(-1.8, 1.8, shape=np.full(FRAMES, b)))[2] for b in np.linspace(-0.8, 0.8, 17)]
    assert -0.05 < max(frozen) < 0.01
    assert 0.5 < skill(truth, road(-1.7, 1.9))[2] < 1


def test_a_straight_road_tells_no_skill():
    still = road(-1.8, 1.8, shape=np.zeros(FRAMES))
    assert np.isnan(skill(still, still)).all()


def test_dropping_lines_is_no_gain():
    """Three of four lines are 0.4 m off; leaving these out betters the error of matched lines, not the cost."""
    truth = lanes(-5.4, -1.8, 1.8, 5.4)
    honest, dropped = finished(truth, lanes(-5.0, -1.4, 2.2, 5.4)), finished(truth, lanes(5.4))
    assert (dropped.lateral_mae < honest.lateral_mae).all()
    assert (dropped.lateral_cost > honest.lateral_cost).all()
    np.testing.assert_allclose(honest.lateral_cost, 0.3, rtol=1e-5)
    np.testing.assert_allclose(dropped.lateral_cost, 0.75 * 1.5, rtol=1e-5)


def test_a_line_too_short_and_a_line_too_many_cost_the_gate():
    truth = lanes(1.8)
    np.testing.assert_allclose(finished(truth, lanes(1.8, far=40)).lateral_cost, [0, 0, 1.5 * 16 / 17])
    np.testing.assert_allclose(finished(truth, lanes(1.8, 5.4)).lateral_cost, 0.75)


def test_lines_are_stable_flickering_or_missing_from_frame_to_frame():
    """RVLD's rates: found in both of two frames, in one, in neither; chunks do not show."""
    found = np.array([1, 1, 0, 0, 0, 1, 1], bool)
    frames = np.arange(7)
    for cut in (0, 3, 7):
        meter = Steadiness.none()
        for part in (frames[:cut], frames[cut:]):
            meter.add(part, np.zeros(len(part), np.int32), found[part], part)
        assert meter.counts.tolist() == [2, 2, 2]
    meter = Steadiness.none()
    meter.add(np.array([0, 2]), np.zeros(2, np.int32), np.ones(2, bool), np.arange(3))
    assert meter.counts.sum() == 0
