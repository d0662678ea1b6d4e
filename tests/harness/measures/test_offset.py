"""Offset and heading."""

from __future__ import annotations

import numpy as np
from hypothesis import given

from harness.measures.fit import fit_bands
from harness.measures.offset import heading, offset_max, offset_mean
from tests.harness.measures import slow_metrics as slow
from tests.strategies import offsets, quick

LENGTH = np.array([20.0, 20.0, 40.0])
PLACES = np.linspace(-1, 1, 17)


@quick
@given(offsets())
def test_agrees_with_numpy_on_what_is_there(offset):
    fit = fit_bands(offset)
    for pair in range(len(offset)):
        for band in range(3):
            there = offset[pair, band][np.isfinite(offset[pair, band])]
            if len(there) == 0:
                assert np.isnan(offset_mean(fit)[pair, band])
                assert np.isnan(offset_max(offset)[pair, band])
                continue
            np.testing.assert_allclose(offset_mean(fit)[pair, band], there.mean(), atol=1e-12)
            assert offset_max(offset)[pair, band] == np.abs(there).max()
            if len(there) > 1:
                stations = np.linspace(0, LENGTH[band], 17)
                expected = slow.heading(stations, offset[pair, band])
                np.testing.assert_allclose(heading(fit, LENGTH)[pair, band], expected, atol=1e-9)
            else:
                assert np.isnan(heading(fit, LENGTH)[pair, band])


def test_the_sign_is_left_positive_and_the_largest_offset_is_not_signed():
    to_the_right = np.full((1, 1, 17), -0.5)
    assert offset_mean(fit_bands(to_the_right)) == -0.5
    assert offset_max(to_the_right) == 0.5


def test_a_candidate_that_turns_left_has_a_positive_heading():
    offset = 0.01 * np.linspace(20, 40, 17)[None, None]
    np.testing.assert_allclose(heading(fit_bands(offset), np.array([20.0])), 0.01)


def test_a_shift_is_offset_and_nothing_else():
    fit = fit_bands(np.full((1, 3, 17), 123.456))
    np.testing.assert_allclose(offset_mean(fit), 123.456)
    np.testing.assert_allclose(heading(fit, LENGTH), 0, atol=1e-13)
    np.testing.assert_allclose(fit.residual, 0, atol=1e-12)


@quick
@given(offsets())
def test_the_residual_has_neither_mean_nor_slope(offset):
    fit = fit_bands(offset)
    measured = fit.count > 1
    np.testing.assert_allclose(fit.residual.sum(axis=-1)[measured], 0, atol=1e-9)
    np.testing.assert_allclose((fit.residual @ PLACES)[measured], 0, atol=1e-9)
