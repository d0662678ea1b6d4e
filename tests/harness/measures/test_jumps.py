"""Glitches last a frame or two, steps stay, and a slot renamed in a lane change is neither."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.measures.jitter import jitter_of
from harness.measures.jumps import glitch_of, step_of, without_renames
from harness.measures.tremble import tremble_of
from tests.harness.measures.station_blocks import block_of, clock, noise, owned_by

RATES = [10.0, 20.0, 30.0]
KINDS = (glitch_of, step_of, jitter_of, tremble_of)


@pytest.mark.parametrize("fps", RATES)
@pytest.mark.parametrize("frames", [1, 2])
@pytest.mark.parametrize("size", [0.4, -0.6])
def test_one_or_two_frames_off_are_a_glitch_and_nothing_else(fps, frames, size):
    values = np.random.default_rng(0).normal(scale=0.01, size=round(6 * fps))
    values[30 : 30 + frames] += size
    (found,) = glitch_of(block_of(values, fps=fps))
    assert (found.start, found.stop, found.owner) == (30, 29 + frames, "candidate")
    assert found.value == pytest.approx(abs(size), abs=0.05)
    assert owned_by(step_of(block_of(values, fps=fps))) < 0.05
    assert owned_by(jitter_of(block_of(values, fps=fps))) < 0.06
    assert owned_by(tremble_of(block_of(values, fps=fps))) < 0.045


def test_what_lasts_three_frames_is_no_glitch():
    values = np.zeros(120)
    values[30:33] = 0.6
    assert owned_by(glitch_of(block_of(values))) == 0


@pytest.mark.parametrize("fps", RATES)
@pytest.mark.parametrize("frames", [1, 2])
def test_a_lasting_jump_within_two_frames_is_a_step_and_nothing_else(fps, frames):
    values = np.random.default_rng(0).normal(scale=0.01, size=round(6 * fps))
    at = round(3 * fps)
    values[at:] += 0.3
    values[at] -= 0.15 * (frames == 2)
    found = [s for s in step_of(block_of(values, fps=fps)) if s.value > 0.15]
    assert len(found) == 1
    assert abs(found[0].stop - at) <= 1
    assert found[0].value == pytest.approx(0.3, abs=0.03)
    assert owned_by(glitch_of(block_of(values, fps=fps))) < 0.1
    assert owned_by(jitter_of(block_of(values, fps=fps))) < 0.03


def test_a_smooth_change_is_no_step():
    assert owned_by(step_of(block_of(np.clip(clock(10) - 5, 0, 1)))) == 0


@given(st.floats(-3, 3), st.floats(-0.3, 0.3))
def test_bias_and_drift_are_neither(bias, drift):
    block = block_of(bias + drift * clock(6))
    assert owned_by(glitch_of(block)) == pytest.approx(0, abs=1e-6)
    assert owned_by(step_of(block)) < 0.15 * abs(drift) + 1e-9 or owned_by(step_of(block)) < 0.1


@pytest.mark.parametrize("kind", [glitch_of, step_of])
def test_the_reference_s_own_jump_is_not_the_candidate_s(kind):
    jump = np.zeros(120)
    jump[60 : 61 if kind is glitch_of else 120] = 0.5
    still = np.zeros(120)
    assert owned_by(kind(block_of(still, jump))) == 0
    assert owned_by(kind(block_of(still, jump)), "reference") == pytest.approx(0.5)
    assert owned_by(kind(block_of(jump, still))) == pytest.approx(0.5)
    assert owned_by(kind(block_of(1.7 * jump, -0.6 * jump))) > 0.5  # antiphase: the candidate's alone is over the limit


@pytest.mark.parametrize("late", [-2, -1, 1, 2])
@pytest.mark.parametrize("unmatched", [False, True])
def test_a_slot_renamed_a_frame_late_in_a_lane_change_is_nothing(late, unmatched):
    rng = np.random.default_rng(0)
    t = clock(10)
    drive = -3.6 / (1 + np.exp(-(t - 5) / 0.6))
    reference = drive + np.where(t >= 5, 3.6, 0)
    candidate = drive + np.where(np.arange(200) >= 100 + late, 3.6, 0) + noise(rng, 200, 0.01)
    if unmatched:  # a gate at the slots: those frames have no partner
        candidate[np.abs(candidate - reference) > 1.5] = np.nan
    block = block_of(candidate, reference)
    cleared = without_renames(block.offset, block.candidate, block.reference, 20.0, 1.5)
    assert np.nanmax(np.abs(cleared[0])) < 0.1
    assert np.isnan(cleared[0]).sum() == abs(late)
    np.testing.assert_allclose((cleared[1] - cleared[2])[np.isfinite(cleared[0])], cleared[0][np.isfinite(cleared[0])])
    assert np.abs(np.diff(cleared[2])).max() < 0.2
    for kind, limit in zip(KINDS, (0.3, 0.15, 0.06, 0.045), strict=True):
        assert (
            owned_by(kind(type(block)(*cleared, cleared[0], block.curvature, block.ego, 20.0, 0, block.grid))) < limit
        )


def test_a_slot_that_only_one_engine_renames_stays_a_difference():
    reference = np.where(np.arange(200) >= 100, 3.6, 0.0)
    block = block_of(np.zeros(200), reference)
    cleared = without_renames(block.offset, block.candidate, block.reference, 20.0, 1.5)
    np.testing.assert_array_equal(cleared[0], block.offset)


@pytest.mark.parametrize("kind", [glitch_of, step_of, tremble_of])
def test_no_frame_and_no_rate_is_not_run(kind):
    assert kind(block_of(np.zeros(0))) is None
    assert kind(block_of(np.full(100, np.nan))) is None
    assert kind(block_of(np.zeros(100), fps=float("nan"))) is None


@pytest.mark.parametrize("fps", RATES)
@pytest.mark.parametrize("seed", range(10))
def test_the_noise_of_a_real_network_is_none_of_them(fps, seed):
    """2 cm, correlated over 0.3 s, Student's t with 3 degrees of freedom, half a minute."""
    values = noise(np.random.default_rng(seed), round(30 * fps), 0.02, fps=fps)
    for kind, limit in zip(KINDS, (0.3, 0.15, 0.06, 0.045), strict=True):
        assert owned_by(kind(block_of(values, fps=fps))) < limit


@pytest.mark.parametrize("fps", RATES)
@pytest.mark.parametrize("hz", [3.0, 3.1, 4.0, 4.7])
@pytest.mark.parametrize("phase", [0.0, 0.3, 0.6])
def test_a_tremble_of_015_m_is_found_wherever_it_is(fps, hz, phase):
    values = np.zeros(round(20 * fps))
    t = clock(2.5, fps)
    values[100 : 100 + len(t)] = 0.075 * np.sin(2 * np.pi * (hz * t + phase))
    (found,) = tremble_of(block_of(values, fps=fps))
    assert found.value > 0.045
    assert found.value == pytest.approx(0.075 / np.sqrt(2), rel=0.15)


def test_what_swings_below_2_hz_hardly_trembles():
    assert owned_by(tremble_of(block_of(0.25 * np.sin(2 * np.pi * 1.7 * clock(20))))) < 0.03


def test_the_reference_s_tremble_is_not_the_candidate_s():
    shaking = 0.2 * np.sin(2 * np.pi * 4 * clock(10))
    assert owned_by(tremble_of(block_of(np.zeros(200), shaking))) == pytest.approx(0, abs=1e-9)
