"""Curvature gap."""

from __future__ import annotations

import numpy as np
from hypothesis import given

from harness.measures.band import band_metrics
from harness.measures.curvature import curvature_gap
from harness.measures.fit import fit_bands
from tests.harness.measures import slow_metrics as slow
from tests.strategies import VEHICLE, offsets, quick

LENGTH = np.array([20.0, 20.0, 40.0])


def gap_of(offset: np.ndarray) -> np.ndarray:
    return curvature_gap(fit_bands(offset), LENGTH)


@quick
@given(offsets())
def test_agrees_with_polyfit(offset):
    found = gap_of(offset)
    for pair in range(len(offset)):
        for band in range(3):
            if np.isfinite(offset[pair, band]).sum() >= 3:
                stations = np.linspace(0, LENGTH[band], 17)
                np.testing.assert_allclose(
                    found[pair, band], slow.curvature_gap(stations, offset[pair, band]), atol=1e-9
                )
            else:
                assert np.isnan(found[pair, band])


def test_is_the_difference_of_the_curvatures_of_two_arcs():
    x = np.stack([np.linspace(0, 20, 17), np.linspace(20, 40, 17), np.linspace(40, 80, 17)])[None]
    reference, candidate = (x**2 / 2 / radius for radius in (1000, 400))
    np.testing.assert_allclose(gap_of(candidate - reference), 1 / 400 - 1 / 1000, rtol=1e-9)


def test_a_shifted_and_rotated_line_has_none():
    offset = 3 + 0.02 * np.linspace(0, 20, 17)[None, None] * np.ones((1, 3, 1))
    np.testing.assert_allclose(gap_of(offset), 0, atol=1e-14)


def test_white_noise_reads_what_the_docstring_says():
    noise = np.random.default_rng(5).normal(0, 0.02, (20_000, 3, 17))
    rms = np.sqrt((gap_of(noise) ** 2).mean(axis=0))
    np.testing.assert_allclose(rms, 5.8 * 0.02 / LENGTH**2, rtol=0.03)


def test_the_two_bends_of_an_s_do_not_cancel():
    """An S of two arcs of 400 m radius within the far band: over the whole band its parabola is flat."""
    x = VEHICLE.stations[2]
    s_shape = np.where(x < 60, (x - 40) ** 2, 2 * 20**2 - (80 - x) ** 2) / 2 / 400
    s_shape = s_shape - np.polyval(np.polyfit(x, s_shape, 1), x)
    offset = np.zeros((1, 3, 17))
    offset[0, 2] = s_shape
    assert gap_of(offset)[0, 2] < 1e-6
    found = band_metrics(offset, VEHICLE)["curvature_gap"][0]
    np.testing.assert_allclose(found, [0, 0, 1 / 400], atol=1e-9)
