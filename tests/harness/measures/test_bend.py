"""Bend: straightness of the offset."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog

from harness.measures.bend import bend, bend_between, bend_rms
from harness.measures.fit import fit_bands
from tests.harness.measures import slow_metrics as slow
from tests.strategies import VEHICLE, offsets, quick

STATIONS = np.linspace(0, 20, 17)


def bend_of(offset: np.ndarray) -> np.ndarray:
    return bend(fit_bands(offset))


def minimum_zone(stations: np.ndarray, offset: np.ndarray) -> float:
    """Width of the narrowest strip around a line that holds every point: a linear programme."""
    has = np.isfinite(offset)
    s, d, one = stations[has], offset[has], np.ones(has.sum())
    above, below = np.stack([-s, -one, -one], axis=1), np.stack([s, one, -one], axis=1)
    best = linprog(
        [0, 0, 1],
        A_ub=np.concatenate([above, below]),
        b_ub=np.concatenate([-d, d]),
        bounds=[(None, None), (None, None), (0, None)],
    )
    return 2 * float(best.fun)


@settings(quick, max_examples=25)
@given(offsets())
def test_agrees_with_trying_every_chord(offset):
    found = bend_of(offset)
    for pair in range(len(offset)):
        expected = [slow.bend(STATIONS, d) for d in offset[pair]]
        np.testing.assert_allclose(found[pair], expected, atol=2e-6)


@settings(quick, max_examples=25)
@given(offsets(bands=1))
def test_is_the_width_of_the_narrowest_strip(offset):
    for found, d in zip(bend_of(offset)[:, 0], offset[:, 0], strict=True):
        if np.isfinite(d).sum() >= 3:
            np.testing.assert_allclose(found, minimum_zone(STATIONS, d), atol=1e-5)


@quick
@given(st.integers(-900, 900), st.integers(-99, 99))
def test_a_shifted_and_rotated_line_has_none(shift, slope):
    offset = shift / 3 + slope / 700 * np.linspace(0, 80, 51).reshape(1, 3, 17)
    np.testing.assert_allclose(bend_of(offset), 0, atol=1e-9)
    np.testing.assert_allclose(bend_rms(fit_bands(offset)), 0, atol=1e-9)


@pytest.mark.parametrize("band", [0, 1, 2])
@pytest.mark.parametrize("shape", ["bow", "bump"])
def test_a_bow_or_bump_reads_its_height_in_its_own_band_and_nothing_elsewhere(band, shape):
    place = np.linspace(-1, 1, 17)
    offset = np.full((1, 3, 17), 0.7)
    offset[0, band] += 0.2 * (1 - place**2 if shape == "bow" else np.cos(np.pi / 2 * place))
    expected = np.zeros((1, 3))
    expected[0, band] = 0.2
    np.testing.assert_allclose(bend_of(offset), expected, atol=1e-6)


def test_one_station_aside_reads_in_full():
    offset = np.zeros((1, 1, 17))
    offset[..., 5] = -0.2
    np.testing.assert_allclose(bend_of(offset), 0.2, rtol=1e-6)


def test_white_noise_of_2_cm_reads_10_cm_at_p99():
    noise = np.random.default_rng(7).normal(0, 0.02, (40_000, 1, 17))
    assert 0.098 < np.quantile(bend_of(noise), 0.99) < 0.107


def test_a_gap_in_the_middle_hides_nothing_that_is_measured_around_it():
    offset = np.zeros((1, 1, 17))
    offset[..., 8] = 0.2
    offset[..., [3, 7, 9, 12]] = np.nan
    np.testing.assert_allclose(bend_of(offset), 0.2, rtol=1e-6)


def test_fewer_than_three_stations_have_no_bend():
    offset = np.full((1, 1, 17), np.nan)
    offset[..., [2, 9]] = 1
    assert np.isnan(bend_of(offset)).all()
    offset[..., 16] = 1
    np.testing.assert_allclose(bend_of(offset), 0, atol=1e-9)


def test_a_large_offset_costs_no_precision():
    bow = 0.001 * (1 - np.linspace(-1, 1, 17) ** 2)
    np.testing.assert_allclose(bend_of(500 + bow[None, None]), 0.001, rtol=1e-5)


@quick
@given(offsets())
def test_the_rms_agrees_with_polyfit(offset):
    found = bend_rms(fit_bands(offset))
    for pair in range(len(offset)):
        for band in range(3):
            if np.isfinite(offset[pair, band]).sum() >= 2:
                np.testing.assert_allclose(found[pair, band], slow.bend_rms(STATIONS, offset[pair, band]), atol=1e-9)


@pytest.mark.parametrize(("middle_m", "half_m"), [(20.0, 10.0), (40.0, 10.0)])
def test_a_bow_that_straddles_two_bands_reads_its_height(middle_m, half_m):
    """0.55 m high and 20 m long: each of the two bands by itself sees half of it."""
    bow = 0.55 * np.clip(1 - ((VEHICLE.stations - middle_m) / half_m) ** 2, 0, None)
    assert bend_of(bow[None]).max() < 0.45
    assert bend_between(bow[None], VEHICLE).max() > 0.5


@quick
@given(offsets())
def test_what_is_straight_over_an_edge_has_no_bend_there(offset):
    straight = np.where(np.isfinite(offset), 0.3 + 0.02 * VEHICLE.stations, np.nan)
    np.testing.assert_allclose(np.nan_to_num(bend_between(straight, VEHICLE)), 0, atol=1e-6)
