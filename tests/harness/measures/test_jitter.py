"""Jitter is the sigma of white noise, and blind to everything smooth."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from harness.errors import CaseTooShort
from harness.measures.jitter import jitter, jitter_sums


def slow_sums(offset):
    """Frame by frame, station by station."""
    total = np.zeros(offset.shape[1])
    count = np.zeros(offset.shape[1], int)
    for s in range(offset.shape[1]):
        run = []
        for value in [*offset[:, s], np.nan]:
            if np.isfinite(value):
                run.append(value)
                continue
            if len(run) >= 5:
                for i in range(1, len(run) - 1):
                    total[s] += (run[i - 1] - 2 * run[i] + run[i + 1]) ** 2
                    count[s] += 1
            run = []
    return total, count


shaken = hnp.arrays(
    np.float64,
    st.tuples(st.integers(3, 40), st.integers(1, 3)),
    elements=st.one_of(st.floats(-10, 10), st.just(np.nan)),
)


@given(shaken)
def test_agrees_with_the_slow_way(offset):
    total, count = jitter_sums(offset)
    slow_total, slow_count = slow_sums(offset)
    np.testing.assert_allclose(total, slow_total, atol=1e-9)
    np.testing.assert_array_equal(count, slow_count)


@pytest.mark.parametrize("sigma", [0.005, 0.04])
def test_white_noise_of_sigma_reads_sigma(sigma):
    noise = np.random.default_rng(0).normal(scale=sigma, size=(20_000, 3))
    np.testing.assert_allclose(jitter(*jitter_sums(noise)), sigma, rtol=0.03)


@given(st.floats(-5, 5), st.floats(-1, 1))
def test_a_steady_lane_change_is_not_jitter(bias, drift):
    offset = bias + drift * np.arange(50)[:, None] / 20
    np.testing.assert_allclose(jitter(*jitter_sums(offset)), 0, atol=1e-12)


@given(shaken, shaken)
def test_pooling_cases_equals_one_long_case_with_a_gap(a, b):
    b = np.resize(b, (len(b), a.shape[1]))
    joined = np.concatenate([a, np.full((1, a.shape[1]), np.nan), b])
    total, count = (x + y for x, y in zip(jitter_sums(a), jitter_sums(b), strict=True))
    np.testing.assert_allclose(total, jitter_sums(joined)[0], atol=1e-9)
    np.testing.assert_array_equal(count, jitter_sums(joined)[1])


def test_a_jump_across_a_gap_is_not_jitter():
    offset = np.concatenate([np.zeros(10), [np.nan], np.full(10, 3.0)])[:, None]
    assert jitter(*jitter_sums(offset))[0] == 0


def test_nothing_counted_is_nan_not_zero():
    offset = np.tile([0.0, 1.0, 0.0, np.nan], 10)[:, None]
    assert np.isnan(jitter(*jitter_sums(offset))[0])


@pytest.mark.parametrize(("length", "differences"), [(4, 0), (5, 3), (6, 4)])
def test_runs_count_from_five_frames_on(length, differences):
    offset = np.full((20, 1), np.nan)
    offset[3 : 3 + length] = 1.0
    assert jitter_sums(offset)[1].tolist() == [differences]


def test_two_frames_are_too_few():
    with pytest.raises(CaseTooShort, match="jitter needs 3 frames, got 2"):
        jitter_sums(np.zeros((2, 3)))
