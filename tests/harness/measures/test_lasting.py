"""Bias, drift, wander and frozen lines: what lasts longer than two seconds."""

from dataclasses import replace

import numpy as np
import pytest

from harness.measures.drift import bias_of, drift_of
from harness.measures.frame_owner import lasting_offset
from harness.measures.frozen import frozen_of
from harness.measures.wander import wander_of
from tests.harness.measures.station_blocks import block_of, clock, noise, owned_by

RATES = [10.0, 20.0, 30.0]
SEEDS = range(5)
NO_WANDER_M = (0.30, 0.30, 0.60)  # the finding thresholds
NEAR_M = NO_WANDER_M[0]


def smooth(rng, count, hz, fps=20.0):
    """Unit RMS, nothing quicker than about `hz`, [count]."""
    lead = int(4 * fps / hz)
    spectrum = np.fft.rfft(rng.normal(size=count + 2 * lead))
    values = np.fft.irfft(spectrum / (1 + (np.fft.rfftfreq(count + 2 * lead, 1 / fps) / hz) ** 4), count + 2 * lead)
    return (values / values.std())[lead : lead + count]


@pytest.mark.parametrize(("frames", "told"), [(5, False), (19, False), (20, True)])
def test_a_line_has_a_bias_once_it_lives_a_second(frames, told):
    offset = np.full(100, np.nan)
    offset[:frames] = 0.2
    assert (bias_of(block_of(offset)) == pytest.approx(0.2)) if told else bias_of(block_of(offset)) is None


@pytest.mark.parametrize("fps", RATES)
@pytest.mark.parametrize("sign", [-1, 1])
def test_a_drift_of_03_m_that_comes_and_goes_is_found_where_it_is(fps, sign):
    offset = sign * 0.3 * np.interp(clock(60, fps), [0, 20, 25, 30, 35], [0, 0, 1, 1, 0])
    (found,) = drift_of(block_of(offset, fps=fps))
    assert found.value == pytest.approx(0.3, abs=0.01)
    assert abs(found.start / fps - 25) < 0.3
    assert abs(np.mean(offset)) < 0.06  # what bias sees of it


def test_a_drift_that_turns_round_is_found_though_it_cancels():
    offset = 0.3 * np.sin(2 * np.pi * clock(60) / 60)
    assert bias_of(block_of(offset)) == pytest.approx(0, abs=1e-3)
    assert owned_by(drift_of(block_of(offset))) > 0.28


def test_drift_needs_five_seconds_that_are_compared():
    assert drift_of(block_of(np.zeros(99))) is None
    gaps = np.where(np.arange(200) % 2 == 0, 0.3, np.nan)
    assert drift_of(block_of(gaps)) is None


@pytest.mark.parametrize("fps", RATES)
@pytest.mark.parametrize("hz", [0.12, 0.18, 0.25])
@pytest.mark.parametrize(("station", "width"), [(0, 0.5), (1, 0.5), (2, 1.0)])
def test_a_slow_swing_that_swing_cannot_see_is_a_wander(fps, hz, station, width):
    rng = np.random.default_rng(round(100 * hz))
    count = round(60 * fps)
    reference = 0.2 * smooth(rng, count, 0.2, fps)
    offset = width / 2 * np.sin(2 * np.pi * (hz * clock(60, fps) + rng.random())) + noise(rng, count, 0.03, fps=fps)
    found = wander_of(block_of(reference + offset, reference, fps, station, curvature=smooth(rng, count, 0.1, fps)))
    assert owned_by(found) == pytest.approx(width, rel=0.2)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(("sigma", "station"), [(0.06, 0), (0.15, 2)])
def test_correlated_heavy_noise_is_no_wander(seed, sigma, station):
    offset = noise(np.random.default_rng(seed), 1200, sigma, 0.5)
    assert owned_by(wander_of(block_of(offset, station=station))) <= NO_WANDER_M[station]


@pytest.mark.parametrize("seed", SEEDS)
def test_what_the_curvature_or_a_delay_explains_is_no_wander(seed):
    rng = np.random.default_rng(seed)
    curvature, reference = np.sin(2 * np.pi * (0.17 * clock(30) + rng.random())), 0.5 * smooth(rng, 600, 0.2)
    noisy = noise(rng, 600, 0.03, 0.5)
    assert owned_by(wander_of(block_of(reference + 0.3 * curvature + noisy, reference, curvature=curvature))) <= NEAR_M
    assert owned_by(wander_of(block_of(reference + 0.3 * curvature + noisy, reference))) > 0.3
    late = np.concatenate([np.full(10, reference[0]), reference[:-10]])
    assert owned_by(wander_of(block_of(late + noisy, reference, curvature=curvature))) <= NEAR_M


def test_one_lane_change_and_a_swing_of_1_hz_are_no_wander():
    t = clock(30)
    assert (
        owned_by(wander_of(block_of(3.5 / (1 + np.exp(-2 * (t - 10))) - 3.5 / (1 + np.exp(-2 * (t - 20)))))) <= NEAR_M
    )
    assert owned_by(wander_of(block_of(0.2 * np.sin(2 * np.pi * 1.5 * t)))) <= NEAR_M


@pytest.mark.parametrize("width", [0.06, 0.15, 0.28])
def test_what_is_no_wander_yet_has_its_size(width):
    found = wander_of(block_of(width / 2 * np.sin(2 * np.pi * 0.2 * clock(30))))
    assert owned_by(found) == pytest.approx(width, rel=0.1)
    assert owned_by(found) <= NEAR_M


def test_a_wander_of_the_reference_is_nobody_s_where_truth_clears_it():
    wandering = 0.3 * np.sin(2 * np.pi * 0.2 * clock(30))
    none = np.full(600, np.nan)
    for truth, least, most in ((none, 0.5, 0.7), (-wandering, 0.0, NEAR_M)):
        block = block_of(np.zeros(600), wandering)
        block = replace(block, lasting=lasting_offset(block.offset, wandering, truth, 20.0, 0.10))
        assert least <= owned_by(wander_of(block)) <= most


def test_wander_needs_six_seconds_and_8_hz():
    assert wander_of(block_of(np.zeros(119))) is None
    assert wander_of(block_of(np.zeros(600), fps=7.0)) is None


@pytest.mark.parametrize("fps", RATES)
@pytest.mark.parametrize("seed", SEEDS)
def test_an_engine_frozen_for_its_last_two_and_a_half_seconds_is_found(fps, seed):
    rng = np.random.default_rng(seed)
    count, held = round(15 * fps), round(2.5 * fps)
    reference = 0.2 * np.cumsum(np.full(count, 1 / fps)) + noise(rng, count, 0.01, fps=fps)
    candidate = reference + noise(rng, count, 0.01, fps=fps)
    healthy = block_of(candidate, reference, fps)
    assert owned_by(frozen_of(healthy)) == 0
    candidate[-held:] = candidate[-held]
    (found,) = frozen_of(block_of(candidate, reference, fps))
    assert found.value == pytest.approx(2.5, abs=0.3)
    assert found.stop == count - 1


@pytest.mark.parametrize("seed", SEEDS)
def test_a_still_line_beside_a_noisy_reference_is_not_frozen(seed):
    shaking = noise(np.random.default_rng(seed), 600, 0.05)
    assert owned_by(frozen_of(block_of(np.zeros(600), shaking))) == 0
    assert owned_by(frozen_of(block_of(np.zeros(600), np.zeros(600)))) == 0


def test_frozen_needs_half_a_second():
    assert frozen_of(block_of(np.zeros(10))) is None
    assert frozen_of(block_of(np.zeros(100), fps=float("nan"))) is None
