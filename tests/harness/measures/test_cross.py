"""Lines across the road: offsets along the reference's normal."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from harness.lines.table import LineTable
from harness.measures.band import band_columns
from harness.measures.chamfer import even_points, outlines
from harness.measures.cross import cross_metrics, normal_offset
from tests.strategies import IMAGE, VEHICLE

PLACE = np.linspace(0, 1, 17)


def stop_line(at: float, bow: float = 0.0, turn: float = 0.0, half: float = 6.0) -> LineTable:
    """A stop line `at` metres ahead, bowed away from the car and turned."""
    left = half * (1 - 2 * np.linspace(0, 1, 65))
    ahead = at + bow * (1 - (left / half) ** 2) - turn * left
    return LineTable.from_points([0], [np.stack([ahead, left], axis=1)])


def measures(reference: LineTable, candidate: LineTable) -> dict[str, np.ndarray]:
    return {name: values[0] for name, values in cross_metrics(reference, candidate, VEHICLE).items()}


@pytest.mark.parametrize(("at", "band"), [(5, 0), (30, 1), (70, 2), (95, 2), (-5, 0)])
def test_all_of_it_belongs_to_the_band_of_its_middle(at, band):
    found = measures(stop_line(at), stop_line(at + 0.25, half=7))
    for name in band_columns():
        assert np.isnan(np.delete(found[name], band)).all()
    assert found["coverage"][band] == 1
    np.testing.assert_allclose(found["offset_mean"][band], 0.25, atol=1e-5)
    np.testing.assert_allclose(found["bend"][band], 0, atol=1e-5)


def test_a_bow_away_from_the_car_is_positive_and_bends():
    found = measures(stop_line(10), stop_line(10, bow=0.2))
    np.testing.assert_allclose(found["bend"][0], 0.2, atol=1e-3)
    np.testing.assert_allclose(found["offset_max"][0], 0.2, atol=1e-3)
    assert found["offset_mean"][0] > 0.1
    np.testing.assert_allclose(found["curvature_gap"][0], 8 * 0.2 / 12**2, rtol=0.02)


def test_a_turned_line_has_a_heading_and_no_bend():
    found = measures(stop_line(10), stop_line(10, turn=0.05, half=7))
    np.testing.assert_allclose(found["heading"][0], 0.05, rtol=1e-4)
    np.testing.assert_allclose(found["bend"][0], 0, atol=1e-5)
    np.testing.assert_allclose(found["kink"][0], 0, atol=1e-6)


def test_the_order_of_the_points_does_not_matter():
    reference, candidate = stop_line(10, bow=0.1), stop_line(10.3)
    for flip in ("reference", "candidate"):
        turned = {"reference": reference, "candidate": candidate}
        turned[flip] = LineTable.from_points([0], [turned[flip].points(0)[::-1]])
        for name, values in measures(**turned).items():
            np.testing.assert_allclose(values, measures(reference, candidate)[name], atol=1e-5, err_msg=name)


def test_a_candidate_that_is_too_short_loses_coverage_and_with_it_its_values():
    found = measures(stop_line(10), stop_line(10, half=3))
    np.testing.assert_allclose(found["coverage"][0], 9 / 17)
    assert np.isnan([found[name][0] for name in band_columns()[1:]]).all()


def test_distances_run_along_the_normals_of_a_slanted_line():
    along, aside = np.array([0.6, -0.8]), np.array([0.8, 0.6])
    points = np.array([20, 3]) + 10 * PLACE[:, None] * along
    reference = LineTable.from_points([0], [points])
    candidate = LineTable.from_points([0], [points[[0, -1]] + 0.5 * aside + [[-0.6, 0.8], [0.6, -0.8]]])
    offset, length, middle = normal_offset(reference, candidate, VEHICLE, 17)
    np.testing.assert_allclose(offset, 0.5, atol=1e-5)
    np.testing.assert_allclose(length, 10, rtol=1e-6)
    np.testing.assert_allclose(middle, 23, rtol=1e-6)


def test_agrees_with_walking_along_each_normal():
    rng = np.random.default_rng(4)
    reference = stop_line(12, bow=1.0)
    candidate = LineTable.from_points([0], [np.stack([12.5 + rng.normal(0, 0.3, 9), np.linspace(7, -7, 9)], axis=1)])
    offset, _, _ = normal_offset(reference, candidate, VEHICLE, 17)
    far = candidate.points(0).astype(float)
    dense = np.concatenate([np.linspace(a, b, 4000) for a, b in pairwise(far)])
    points = even_points(outlines(reference), np.linspace(0, 1, 17))[0]
    for i, d in enumerate(offset[0]):
        tangent = points[min(i + 1, 16)] - points[max(i - 1, 0)]
        tangent /= np.hypot(*tangent)
        away = dense - points[i]
        off_normal = np.abs(away @ tangent)
        ahead = away @ np.array([-tangent[1], tangent[0]])
        on_it = off_normal < 2e-3
        np.testing.assert_allclose(d, ahead[on_it][np.abs(ahead[on_it]).argmin()], atol=5e-3)


def test_the_nearest_of_several_crossings_counts():
    candidate = LineTable.from_points([0], [[[7, 7], [7, -8], [10.3, -8], [10.3, 7]]])
    offset, _, _ = normal_offset(stop_line(10), candidate, VEHICLE, 17)
    np.testing.assert_allclose(offset, 0.3, atol=1e-5)


def test_a_line_that_doubles_back_still_equals_itself():
    lines = LineTable.from_points([0], [[[12, 3], [12, -1], [12, 3.5]]])
    offset, _, _ = normal_offset(lines, lines, VEHICLE, 17)
    np.testing.assert_allclose(offset, 0, atol=1e-9)
    folded = LineTable.from_points([0], [[[12, 3], [12, -1], [12, 3]]])
    np.testing.assert_allclose(normal_offset(folded, folded, VEHICLE, 17)[0], 0, atol=1e-9)


def test_in_the_image_up_is_ahead():
    reference = LineTable.from_points([0], [[[100, 300], [500, 300]]])
    candidate = LineTable.from_points([0], [[[100, 295], [500, 295]]])
    found = cross_metrics(reference, candidate, IMAGE)
    np.testing.assert_allclose(found["offset_mean"], [[5, np.nan, np.nan]])


def test_a_line_without_points_has_no_measures():
    nothing, dot = LineTable.from_points([0], [[]]), LineTable.from_points([0], [[[10, 1], [10, 1]]])
    assert all(np.isnan(values).all() for values in measures(dot, stop_line(10)).values())
    assert all(np.isnan(values).all() for values in measures(nothing, stop_line(10)).values())
    found = measures(stop_line(10), nothing)
    assert found["coverage"][0] == 0
    assert np.isnan(found["bend"]).all()
    assert {v.shape for v in cross_metrics(LineTable.empty(), LineTable.empty(), VEHICLE).values()} == {(0, 3)}
