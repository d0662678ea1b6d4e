"""Jitter is the sigma of white noise in the worst two seconds, blind to what is smooth and to single far frames."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from harness.measures.jitter import jitter_of, jitter_windows, second_difference
from tests.harness.measures.station_blocks import block_of, clock, noise, owned_by

RATES = [10.0, 20.0, 30.0]


def slow_second_difference(values):
    """Value by value."""
    out = np.full(len(values), np.nan)
    run = []
    for i, value in enumerate([*values, np.nan]):
        if np.isfinite(value):
            run.append(i)
            continue
        if len(run) >= 5:
            for k in run[1:-1]:
                out[k] = values[k - 1] - 2 * values[k] + values[k + 1]
        run = []
    return out


shaken = hnp.arrays(np.float64, st.integers(0, 90), elements=st.one_of(st.floats(-10, 10), st.just(np.nan)))


@given(shaken)
def test_second_differences_agree_with_the_slow_way(values):
    np.testing.assert_allclose(second_difference(values), slow_second_difference(values), atol=1e-9)


@given(shaken, st.sampled_from(RATES))
def test_windows_agree_with_numpy_s_quantile(values, fps):
    starts, width, found = jitter_windows(values, fps)
    wobble = np.abs(second_difference(values))
    for start, jitter in zip(starts, found, strict=True):
        inside = wobble[start : start + width]
        inside = inside[np.isfinite(inside)]
        if len(inside) < 20:
            assert np.isnan(jitter)
        else:
            assert jitter == pytest.approx(np.quantile(inside, 0.8) / 1.2815515655446004 / np.sqrt(6), abs=1e-12)


@pytest.mark.parametrize("fps", RATES)
def test_white_noise_of_sigma_reads_sigma_in_the_median_window(fps):
    found = jitter_windows(np.random.default_rng(0).normal(scale=0.04, size=20_000), fps)[2]
    assert np.median(found) == pytest.approx(0.04, rel=0.08)  # of 20 values, the quantile reads 5 % low


@given(st.floats(-5, 5), st.floats(-1, 1))
def test_a_steady_lane_change_is_not_jitter(bias, drift):
    assert owned_by(jitter_of(block_of(bias + drift * clock(5)))) == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("seed", range(5))
def test_one_glitch_of_06_m_in_6_s_does_not_move_it(seed):
    rng = np.random.default_rng(seed)
    quiet = rng.normal(scale=0.01, size=120)
    glitched = quiet.copy()
    glitched[rng.integers(5, 115)] += 0.6
    plain, found = (owned_by(jitter_of(block_of(x))) for x in (quiet, glitched))
    assert found < plain + 0.005
    assert found < 0.03


@pytest.mark.parametrize("fps", RATES)
@pytest.mark.parametrize("seed", range(4))
def test_a_burst_of_a_second_is_found_in_a_minute(fps, seed):
    rng = np.random.default_rng(seed)
    values = noise(rng, round(60 * fps), 0.01, fps=fps)
    start = int(rng.integers(0, round(59 * fps)))
    values[start : start + round(fps)] += rng.normal(scale=0.25, size=round(fps))
    assert owned_by(jitter_of(block_of(values, fps=fps))) > 0.06


def test_the_reference_s_jitter_is_not_the_candidate_s():
    rng = np.random.default_rng(1)
    shaking = rng.normal(scale=0.1, size=600)
    assert owned_by(jitter_of(block_of(np.zeros(600), shaking))) == pytest.approx(0, abs=1e-9)
    assert owned_by(jitter_of(block_of(shaking, np.zeros(600)))) > 0.09


@pytest.mark.parametrize("seed", range(3))
def test_what_the_candidate_shakes_more_is_its_own(seed):
    rng = np.random.default_rng(seed)
    candidate, reference, other = rng.normal(scale=0.1, size=(3, 600))
    assert owned_by(jitter_of(block_of(candidate, 0.5 * reference))) > 0.06
    assert owned_by(jitter_of(block_of(0.5 * candidate, 0.5 * other))) < 0.06


def test_between_repeats_of_one_engine_all_of_the_difference_counts():
    rng = np.random.default_rng(0)
    once, again = rng.normal(scale=0.05, size=(2, 600))
    assert owned_by(jitter_of(block_of(again, once, owned=False))) > 0.06


def test_a_jump_across_a_gap_is_not_jitter():
    offset = np.concatenate([np.zeros(40), [np.nan], np.full(40, 3.0)])
    assert owned_by(jitter_of(block_of(offset))) == 0


@pytest.mark.parametrize(("length", "told"), [(21, False), (22, True)])
def test_it_needs_twenty_second_differences(length, told):
    assert (jitter_of(block_of(np.zeros(length))) is not None) == told


def test_the_stretch_is_where_it_shakes():
    values = np.zeros(1200)
    values[500:520] = np.random.default_rng(0).normal(scale=0.2, size=20)
    (found,) = jitter_of(block_of(values))
    assert found.start <= 510 <= found.stop
    assert found.stop - found.start < 45
