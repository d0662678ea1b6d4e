"""All band measures together, and coverage."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given

from harness.errors import MetricError
from harness.measures import band as module
from harness.measures.band import MIN_COVERAGE, band_columns, band_metrics
from tests.harness.measures import slow_metrics as slow
from tests.strategies import IMAGE, VEHICLE, grids, offsets, quick

VALUES = band_columns()[1:]


@quick
@given(offsets(), grids())
def test_every_measure_agrees_with_its_slow_twin(offset, grid):
    found = band_metrics(offset, grid)
    forward = grid.stations if grid.frame == "vehicle" else -grid.stations
    for pair in range(len(offset)):
        for band in range(3):
            d = offset[pair, band]
            share = np.isfinite(d).sum() / 17
            got = {name: found[name][pair, band] for name in band_columns()}
            np.testing.assert_allclose(got.pop("coverage"), share)
            if share < MIN_COVERAGE:
                assert np.isnan(list(got.values())).all()
                continue
            expected = {
                "offset_mean": np.nanmean(d),
                "offset_max": np.nanmax(np.abs(d)),
                "heading": slow.heading(forward[band], d),
                "bend": slow.bend_with_edge(band, forward, offset[pair]),
                "bend_rms": slow.bend_rms(forward[band], d),
                "kink": slow.kink(forward[band], forward, offset[pair], grid.thresholds.kink_length[band]),
                "curvature_gap": slow.curvature_of_halves(forward[band], d),
            }
            for name in VALUES:
                np.testing.assert_allclose(got[name], expected[name], atol=2e-6, err_msg=name)


@quick
@given(offsets())
def test_a_candidate_that_equals_its_reference_has_full_coverage_wherever_there_is_any(offset):
    has = np.isfinite(offset)
    found = band_metrics(np.where(has, 0.0, np.nan), VEHICLE, has)
    enough = has.sum(axis=2) >= MIN_COVERAGE * 17
    np.testing.assert_array_equal(found["coverage"], np.where(enough, 1.0, np.nan))
    for name in VALUES:
        values = found[name][enough]
        if name == "kink":  # a band with gaps may have no station to count it at
            values = np.nan_to_num(values)
        np.testing.assert_allclose(values, 0, atol=1e-12, err_msg=name)


def test_coverage_is_the_share_of_the_stations_of_the_reference():
    has = np.ones((3, 3, 17), bool)
    has[0, 2, 15:] = False  # the reference ends a little sooner
    has[1, 2, 10:] = False  # the reference ends far sooner: no band to cover, ten stations to compare
    both = has.copy()
    both[0, 2, 14:] = False
    both[2, 2, 12:] = False  # the candidate loses the band
    found = band_metrics(np.where(both, 0.1, np.nan), VEHICLE, has)
    np.testing.assert_allclose(found["coverage"][:, 2], [14 / 15, np.nan, 12 / 17])
    np.testing.assert_allclose(found["offset_mean"][:, 2], [0.1, 0.1, np.nan])
    np.testing.assert_array_equal(np.isnan(found["heading"][:, 2]), [False, True, True])
    np.testing.assert_array_equal(found["coverage"][:, :2], 1)


def test_a_hook_before_the_end_of_a_short_reference_is_seen():
    has = np.broadcast_to(np.arange(51) < 47, (1, 51)).reshape(1, 3, 17)  # the reference ends at 70 m
    hook = np.zeros((1, 3, 17))
    hook[0, 2, 5:] = np.linspace(0, 3, 12)
    found = band_metrics(np.where(has, hook, np.nan), VEHICLE, has)
    assert np.isnan(found["coverage"][0, 2])
    assert found["offset_max"][0, 2] > 1.5
    assert found["bend"][0, 2] > 0.3
    assert found["kink"][0, 2] > 0.05


@pytest.mark.parametrize("stations", [4, 5])
def test_a_piece_of_five_stations_is_compared_and_a_shorter_one_is_not(stations):
    has = np.broadcast_to(np.arange(17) < stations, (1, 3, 17))
    found = band_metrics(np.where(has, 0.1, np.nan), VEHICLE, has)
    assert np.isnan(found["offset_mean"]).all() == (stations < 5)


def test_four_fifths_of_the_reference_are_enough():
    has = np.broadcast_to(np.arange(17) < 15, (1, 3, 17))
    both = np.where(np.arange(17) < 12, 0.1, np.nan) * np.ones((1, 3, 1))
    found = band_metrics(both, VEHICLE, has)
    np.testing.assert_array_equal(found["coverage"], 0.8)
    np.testing.assert_allclose(found["offset_mean"], 0.1)


def test_blocks_do_not_show(monkeypatch):
    offset = np.random.default_rng(0).normal(size=(100, 3, 17))
    offset[::3, 2, 12:] = np.nan
    has = np.isfinite(offset) | (np.arange(17) < 15)
    whole = band_metrics(offset, VEHICLE, has)
    monkeypatch.setattr(module, "PAIRS_PER_BLOCK", 9)
    for name, values in band_metrics(offset, VEHICLE, has).items():
        np.testing.assert_allclose(values, whole[name], rtol=1e-6, atol=1e-12, err_msg=name)


def test_a_turn_to_the_left_has_the_same_sign_in_both_frames():
    ahead = np.abs(IMAGE.stations - IMAGE.stations[0, 0])[None]
    assert (band_metrics(0.01 * ahead, IMAGE)["heading"] > 0).all()
    assert (band_metrics(0.01 * VEHICLE.stations[None], VEHICLE)["heading"] > 0).all()


def test_no_pairs_give_empty_measures():
    assert {v.shape for v in band_metrics(np.zeros((0, 3, 17)), VEHICLE).values()} == {(0, 3)}


def test_offsets_that_are_not_on_the_grid_are_refused():
    with pytest.raises(MetricError, match=r"\(2, 51\)"):
        band_metrics(np.zeros((2, 51)), VEHICLE)
