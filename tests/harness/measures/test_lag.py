"""Lag reads planted delays and says nothing where there is nothing to say."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.lag_power import DELAYS, NULLS, lags_told
from harness.measures.lag import LONGEST_LAG, LagLook, agreed_lags, look_for_lag

FPS = 20
FLOOR_M = 0.01


def weaving(seed, count=220, jitter=0.005):
    """A vehicle in its lane: filtered noise of 0.3 m, seen with a few millimetres of noise."""
    rng = np.random.default_rng(seed)
    smooth = np.convolve(rng.normal(size=count + 40), np.hanning(20), "valid")[:count]
    return 0.3 * smooth / smooth.std() + jitter * rng.normal(size=count)


def lag_of(candidate, reference, fps=FPS):
    return look_for_lag(candidate, reference, fps, FLOOR_M).lag


def slow_explained(candidate, reference, lag):
    """The share of the squared difference that a lag explains, one frame after the other."""
    pairs = []
    for t in range(len(candidate)):
        if 0 <= t - lag < len(reference):
            pair = candidate[t] - reference[t], reference[t - lag] - reference[t]
            pairs += [pair] if np.isfinite(pair).all() else []
    d, m = np.array(pairs).T
    d, m = d - d.mean(), m - m.mean()
    return 1 - ((d - m) ** 2).sum() / (d**2).sum()


@given(st.integers(0, 50), st.integers(-8, 8))
def test_a_planted_delay_is_read_back(seed, delay):
    road = weaving(seed)
    assert lag_of(road[10 - delay : 210 - delay] + 0.4, road[10:210]) == pytest.approx(delay, abs=0.1)


@given(st.integers(0, 30), st.integers(1, 6), st.integers(0, 30))
def test_agrees_with_the_slow_way_through_gaps(seed, delay, missing):
    road = weaving(seed)
    reference, candidate = road[10:210].copy(), road[10 - delay : 210 - delay].copy()
    candidate[50 : 50 + missing] = np.nan
    look = look_for_lag(candidate, reference, FPS, FLOOR_M)
    assert round(look.lag) == delay
    for lag in (-10, -1, 1, delay, 10):
        assert look.explained[LONGEST_LAG + lag] == pytest.approx(slow_explained(candidate, reference, lag), abs=1e-9)


def test_half_a_frame_is_seen():
    t = np.arange(400) / 20
    curve = lambda t: 0.3 * np.sin(2 * np.pi * 0.3 * t) + 0.1 * np.sin(2 * np.pi * 0.7 * t)  # noqa: E731  # a formula
    assert lag_of(curve(t - 1.5 / 20), curve(t)) == pytest.approx(1.5, abs=0.1)


def test_noise_and_bias_that_a_frames_delay_would_be_seen_through_are_no_lag():
    road = weaving(1)
    assert lag_of(road + np.random.default_rng(2).normal(scale=0.002, size=len(road)) + 0.5, road) == 0
    assert lag_of(road, road) == 0


def test_noise_that_would_hide_a_delay_is_not_the_absence_of_one():
    road = weaving(1)
    assert np.isnan(lag_of(road + np.random.default_rng(2).normal(scale=0.1, size=len(road)), road))


def test_nothing_that_moves_tells_no_lag():
    still = np.random.default_rng(0).normal(scale=0.001, size=200)
    assert np.isnan(lag_of(still, still))
    assert np.isnan(lag_of(still[3:], still[:-3]))


def test_another_smooth_movement_is_no_lag():
    """A smooth line is like itself a few frames later, which a correlation takes for a lag."""
    found = [lag_of(weaving(k, jitter=0.0) + weaving(100 + k, jitter=0.0), weaving(k, jitter=0.0)) for k in range(40)]
    assert np.isnan(found).all()


@given(st.integers(0, 20), st.floats(0.05, 0.4))
def test_a_line_that_hardly_moves_follows_nobody(seed, gain):
    road = weaving(seed)
    assert np.isnan(lag_of(gain * road[7:207], road[10:210]))


def test_too_few_frames_tell_no_lag():
    assert np.isnan(lag_of(weaving(0, 19), weaving(0, 19)))
    assert np.isnan(lag_of(np.full(100, np.nan), weaving(0, 100)))
    assert np.isnan(lag_of(weaving(0), weaving(0), fps=np.nan))


def test_a_short_clip_must_be_explained_better():
    """A slow disturbance explains more of a short clip by chance."""
    told = {}
    for frames in (40, 200):
        roads = [weaving(k, frames + 20) for k in range(30)]
        noise = [np.random.default_rng(k).normal(scale=0.05, size=frames) for k in range(30)]
        pairs = [(r[7 : 7 + frames] + n, r[10 : 10 + frames]) for r, n in zip(roads, noise, strict=True)]
        told[frames] = np.mean([abs(lag_of(*pair) - 3) < 0.5 for pair in pairs])
    assert told[40] < 0.5
    assert told[200] > 0.9


@pytest.mark.parametrize(("disturb", "size_m"), NULLS)
def test_what_is_no_delay_is_told_as_none(disturb, size_m):
    """At most one drive of twelve: benchmarks/lag_power.py measures the rate, docs/metrics-time.md has it."""
    lags = lags_told(4.0, 0, disturb, size_m, drives=3, jitter_m=0.005)
    assert sum(abs(lag) >= 0.5 for lag in lags) <= 1


@pytest.mark.parametrize("delay", DELAYS)
def test_a_stale_picture_is_told_whatever_the_drive(delay):
    lags = lags_told(4.0, delay, NULLS[0][0], 0.0, drives=2, jitter_m=0.005)
    assert lags == pytest.approx([delay] * 8, abs=0.3)


def look(lag, explained=0.0):
    return LagLook(lag, np.full(2 * LONGEST_LAG + 1, explained))


@given(st.floats(-8, 8), st.lists(st.floats(-0.2, 0.2), min_size=2, max_size=12))
def test_lags_that_agree_stay(delay, errors):
    lags = [delay + error for error in errors]
    assert agreed_lags([*map(look, lags), look(np.nan)])[:-1] == lags


def test_lags_that_disagree_are_none_and_zeros_stay():
    assert agreed_lags([look(v) for v in (2.0, -0.62, 1.14, 7.0)]) == pytest.approx([np.nan] * 4, nan_ok=True)
    assert agreed_lags([look(v) for v in (2.58, 3.22, 0.0, 0.0)]) == pytest.approx([np.nan, np.nan, 0, 0], nan_ok=True)
    assert agreed_lags([look(v) for v in (2.0, 2.1, 1.9, 5.0)]) == pytest.approx([2.0, 2.1, 1.9, np.nan], nan_ok=True)


def test_lines_that_a_lag_would_leave_further_off_speak_against_it():
    with_it = [look(2.0), look(2.1)]
    assert agreed_lags([*with_it, look(np.nan, 0.1)])[:2] == [2.0, 2.1]
    assert np.isnan(agreed_lags([*with_it, look(np.nan, -0.5)])).all()


def test_one_line_of_several_tells_no_lag():
    assert np.isnan(agreed_lags([look(3.0), look(np.nan)])).all()
    assert agreed_lags([look(3.0), LagLook(np.nan, np.full(21, np.nan))])[0] == 3.0


def test_nothing_measured_is_nothing_agreed():
    assert np.isnan(agreed_lags([look(np.nan), look(np.nan)])).all()
    assert agreed_lags([]) == []


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("hz", [0.1, 0.25, 0.5])
def test_five_frames_of_delay_of_a_line_that_moves_5_cm_are_never_told_as_none(seed, hz):
    """5 cm from end to end; the delay is told, or nothing is: never 0."""
    rng = np.random.default_rng(seed)
    t = np.arange(15 * FPS + 5) / FPS
    road = 0.025 * np.sin(2 * np.pi * (hz * t + rng.random()))
    for noise in (0.0, 0.002, 0.01):
        candidate, reference = road[:-5] + noise * rng.normal(size=len(t) - 5), road[5:]
        lag = lag_of(candidate, reference)
        assert np.isnan(lag) or lag == pytest.approx(5, abs=1.0)
        assert noise or hz < 0.2 or lag == pytest.approx(5, abs=0.1)
