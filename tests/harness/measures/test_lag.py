"""Lag reads planted delays and says nothing where there is nothing to say."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.measures.lag import LONGEST_LAG, agreed_lags, lag_frames


def weaving(seed, count=200):
    """A vehicle in its lane: filtered noise of 0.3 m."""
    noise = np.random.default_rng(seed).normal(size=count + 40)
    smooth = np.convolve(noise, np.hanning(20), "valid")[:count]
    return 0.3 * smooth / smooth.std()


def slow_lag(candidate, reference):
    """Every lag by np.corrcoef; the one with the highest correlation."""
    best, found = -2.0, 0
    n = len(reference)
    for k in range(-LONGEST_LAG, LONGEST_LAG + 1):
        pairs = [(candidate[t + k], reference[t]) for t in range(n) if 0 <= t + k < n]
        pairs = [p for p in pairs if np.isfinite(p).all()]
        r = np.corrcoef(np.array(pairs).T)[0, 1]
        if r > best:
            best, found = r, k
    return found


@given(st.integers(0, 50), st.integers(-8, 8))
def test_a_planted_delay_is_read_back(seed, delay):
    road = weaving(seed, 220)
    reference, candidate = road[10:210], road[10 - delay : 210 - delay] + 0.4
    assert lag_frames(candidate, reference, 0.01) == pytest.approx(delay, abs=0.1)


@given(st.integers(0, 30), st.integers(1, 6), st.integers(0, 30))
def test_agrees_with_the_slow_way_through_gaps(seed, delay, missing):
    road = weaving(seed, 220)
    reference, candidate = road[10:210].copy(), road[10 - delay : 210 - delay].copy()
    candidate[50 : 50 + missing] = np.nan
    lag = lag_frames(candidate, reference, 0.01)
    assert round(lag) == slow_lag(candidate, reference) == delay


def test_half_a_frame_is_seen():
    t = np.arange(400) / 20
    curve = lambda t: 0.3 * np.sin(2 * np.pi * 0.3 * t) + 0.1 * np.sin(2 * np.pi * 0.7 * t)  # noqa: E731  # a formula
    assert lag_frames(curve(t - 1.5 / 20), curve(t), 0.01) == pytest.approx(1.5, abs=0.1)


def test_noise_and_bias_are_no_lag():
    road = weaving(1)
    noisy = road + np.random.default_rng(2).normal(scale=0.02, size=len(road)) + 0.5
    assert lag_frames(noisy, road, 0.01) == 0


def test_nothing_that_moves_tells_no_lag():
    still = np.random.default_rng(0).normal(scale=0.001, size=200)
    assert np.isnan(lag_frames(still, still, 0.01))


def test_series_that_are_not_alike_tell_no_lag():
    assert np.isnan(lag_frames(np.random.default_rng(5).normal(size=200), weaving(6), 0.01))


def test_too_few_frames_tell_no_lag():
    assert np.isnan(lag_frames(weaving(0, 19), weaving(0, 19), 0.01))
    assert np.isnan(lag_frames(np.full(100, np.nan), weaving(0, 100), 0.01))


@given(st.integers(0, 20), st.floats(0.05, 0.4))
def test_a_line_that_hardly_moves_follows_nobody(seed, gain):
    road = weaving(seed, 220)
    assert np.isnan(lag_frames(gain * road[7:207], road[10:210], 0.01))


@given(st.floats(-8, 8), st.lists(st.floats(-0.2, 0.2), min_size=1, max_size=12))
def test_lags_that_agree_stay(delay, errors):
    lags = [delay + error for error in errors]
    assert agreed_lags([*lags, np.nan])[:-1] == lags


def test_lags_that_disagree_are_none():
    assert agreed_lags([0.0, -0.62, 1.14, 0.0, 0.0, np.nan]) == [0, 0, 0, 0, 0, pytest.approx(np.nan, nan_ok=True)]
    assert agreed_lags([2.58, 3.22, 0.0, 0.0]) == [0, 0, 0, 0]
    assert agreed_lags([2.0, 2.1, 1.9, 5.0]) == [2.0, 2.1, 1.9, pytest.approx(np.nan, nan_ok=True)]


def test_nothing_measured_is_nothing_agreed():
    assert np.isnan(agreed_lags([np.nan, np.nan])).all()
    assert agreed_lags([]) == []
