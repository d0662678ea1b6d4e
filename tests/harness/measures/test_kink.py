"""Kink: the sharpest turn over a length."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.measures.kink import kink, kink_evenly
from harness.model.grid import vehicle_grid
from tests.harness.measures import slow_metrics as slow
from tests.strategies import IMAGE, VEHICLE, grids, offsets, quick


@quick
@given(grids())
def test_the_grid_tells_the_bands_in_which_there_can_be_a_kink(grid):
    found = kink(np.zeros((1, *grid.stations.shape)), grid)[0]
    assert grid.bands_with_kink == tuple(np.isfinite(found).tolist())


@quick
@given(offsets(), grids())
def test_agrees_with_looking_at_every_station(offset, grid):
    forward = grid.stations if grid.frame == "vehicle" else -grid.stations
    found = kink(offset, grid)
    for pair in range(len(offset)):
        expected = [
            slow.kink(forward[band], forward, offset[pair], grid.thresholds.kink_length[band]) for band in range(3)
        ]
        np.testing.assert_allclose(found[pair], expected, atol=1e-12)


@quick
@given(st.integers(-900, 900), st.integers(-99, 99), grids())
def test_a_shifted_and_rotated_line_has_none(shift, slope, grid):
    offset = shift / 3 + slope / 700 * grid.stations[None]
    np.testing.assert_allclose(kink(offset, grid), 0, atol=1e-11)


@pytest.mark.parametrize(("at", "band"), [(10.0, 0), (30.0, 1), (60.0, 2)])
def test_a_turn_at_a_station_reads_its_angle_in_its_band(at, band):
    offset = 0.1 * np.maximum(0, VEHICLE.stations[None] - at)
    np.testing.assert_allclose(kink(offset, VEHICLE)[0, band], 0.1, rtol=1e-9)


def test_a_turn_near_the_end_reads_in_part():
    offset = 0.1 * np.maximum(0, VEHICLE.stations[None] - 70)
    last_counted = 62.5  # 62.5 + 16 is the last that lies on the line
    np.testing.assert_allclose(kink(offset, VEHICLE)[0, 2], 0.1 * (1 - (70 - last_counted) / 16), rtol=0.03)


def test_noise_stays_under_the_limit_that_policies_may_set():
    sigma, length = 0.02, np.array(VEHICLE.thresholds.kink_length)
    noise = np.random.default_rng(3).normal(0, sigma, (20_000, 3, 17))
    noise[:, 1:, 0] = noise[:, :-1, 16]  # bands share their edges
    assert (np.quantile(kink(noise, VEHICLE), 0.999, axis=0) < 4 * np.sqrt(6) * sigma / length).all()


def test_a_missing_station_takes_only_the_turns_that_need_it():
    offset = 0.1 * np.maximum(0, VEHICLE.stations[None] - 10)
    offset[0, 0, -1] = np.nan
    np.testing.assert_allclose(kink(offset, VEHICLE)[0, 0], 0.1, rtol=1e-9)
    offset[0, 0, 8] = np.nan
    assert kink(offset, VEHICLE)[0, 0] < 0.09


def test_a_band_that_is_too_short_for_any_turn_has_no_kink():
    grid = vehicle_grid(((0, 2), (2, 4), (4, 6)))
    assert np.isnan(kink(np.zeros((2, 3, 17)), grid)).all()


def test_all_three_bands_of_an_image_can_be_counted():
    assert (kink(np.zeros((1, 3, 17)), IMAGE) == 0).all()


@quick
@given(offsets(bands=1), st.integers(1, 40), st.integers(1, 60))
def test_lines_with_stations_of_their_own_agree_too(offset, spacing, length):
    values = offset[:, 0]
    found = kink_evenly(values, np.full(len(values), spacing / 8), np.full(len(values), length / 4))
    stations = np.arange(17) * spacing / 8
    expected = [slow.kink(stations, stations, row, length / 4) for row in values]
    np.testing.assert_allclose(found, expected, atol=1e-9)
