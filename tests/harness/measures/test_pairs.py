"""Every measure of every matched pair."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from harness.lines.table import CLOSED, OPEN, LineTable
from harness.measures.band import band_columns, band_metrics
from harness.measures.chamfer import chamfer
from harness.measures.cross import cross_metrics
from harness.measures.match import match
from harness.measures.pairs import PairMetrics, pair_metrics
from harness.measures.stations import is_longitudinal, resample
from tests.strategies import VEHICLE, grids, line_tables, quick

SQUARE = [[30, 0], [34, 0], [34, 4], [30, 4]]


def measured(reference: LineTable, candidate: LineTable, grid=VEHICLE) -> PairMetrics:
    lateral = [resample(t, grid.stations, grid.frame) for t in (reference, candidate)]
    return pair_metrics(reference, candidate, match(reference, candidate, grid, *lateral), grid, *lateral)


@quick
@given(st.data(), grids())
def test_a_run_differs_nowhere_from_itself(data, grid):
    lines = data.draw(line_tables(grid))
    found = measured(lines, lines, grid)
    for name in band_columns()[1:]:
        np.testing.assert_allclose(np.nan_to_num(found.bands[name]), 0, atol=1e-6, err_msg=name)
    coverage = found.bands["coverage"]
    assert ((coverage == 1) | np.isnan(coverage)).all()
    assert not found.class_flip.any()
    assert (found.score_gap == 0).all()


def test_each_kind_of_line_is_measured_in_its_own_way():
    lane, stop = [[0, 1.8], [80, 1.8]], [[25, 6], [25, -6]]
    moved = [[[0, 2.0], [80, 2.0]], [[25.4, 7], [25.4, -7]], [[x + 0.5, y] for x, y in SQUARE]]
    topology = [OPEN, OPEN, CLOSED]
    reference = LineTable.from_points([0] * 3, [lane, stop, SQUARE], topology=topology)
    candidate = LineTable.from_points([0] * 3, moved, topology=topology)
    found = measured(reference, candidate)
    np.testing.assert_allclose(
        found.bands["offset_mean"],
        [[0.2, 0.2, 0.2], [np.nan, 0.4, np.nan], [np.nan, np.nan, np.nan]],
        atol=1e-5,
    )
    np.testing.assert_array_equal(np.isnan(found.bands["coverage"][2]), True)
    np.testing.assert_array_equal(np.isnan(found.chamfer), [True, False, False])
    np.testing.assert_allclose(found.offset[0], 0.2, atol=1e-6)
    assert np.isnan(found.offset[1:]).all()


@quick
@given(line_tables(), line_tables())
def test_puts_together_what_the_single_measures_say(reference, candidate):
    lateral = [resample(t, VEHICLE.stations, "vehicle") for t in (reference, candidate)]
    matches = match(reference, candidate, VEHICLE, *lateral)
    found = pair_metrics(reference, candidate, matches, VEHICLE, *lateral)
    for i, (r, c) in enumerate(zip(matches.reference, matches.candidate, strict=True)):
        pair = reference.take([r]), candidate.take([c])
        if is_longitudinal(reference, "vehicle")[r]:
            shape = (1, 3, 17)
            has = np.isfinite(lateral[0][r]).reshape(shape)
            expected = band_metrics((lateral[1][c] - lateral[0][r]).reshape(shape), VEHICLE, has)
            assert np.isnan(found.chamfer[i])
        else:
            np.testing.assert_allclose(found.chamfer[i], chamfer(*pair)[0], rtol=1e-9)
            expected = {name: np.full((1, 3), np.nan) for name in band_columns()}
            if pair[0].topology[0] == OPEN:
                expected = cross_metrics(*pair, VEHICLE)
        for name in band_columns():
            np.testing.assert_allclose(found.bands[name][i], expected[name][0], atol=1e-6, err_msg=name)
