"""Swing finds what goes left and right again and again, and nothing else."""

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from benchmarks.time_power import noise as noise_of
from harness.measures.swing import find_swings, group_turns, owner_of, turning_points

H = 0.25
RATES = [10, 20, 25]


def clock(seconds, fps):
    return np.arange(round(seconds * fps)) / fps


def sine(pp, hz, fps, seconds=10, phase=0.0):
    return pp / 2 * np.sin(2 * np.pi * (hz * clock(seconds, fps) + phase))


def slow_turning_points(values, h):
    """Sample by sample: the last extreme, once the series has come back from it by h; the series' ends do not count."""
    turns = []
    low = high = 0
    direction = 0
    for i in range(len(values)):
        if values[i] < values[low]:
            low = i
        if values[i] > values[high]:
            high = i
        if direction >= 0 and values[high] - values[i] >= h:
            if high > 0:
                turns.append(high)
            direction, low, high = -1, i, i
        elif direction <= 0 and values[i] - values[low] >= h:
            if low > 0:
                turns.append(low)
            direction, low, high = 1, i, i
    return turns


walks = hnp.arrays(np.float64, st.integers(1, 60), elements=st.floats(-1, 1))


@given(walks, st.floats(0.05, 1.0))
def test_turning_points_agree_with_the_slow_way(values, h):
    assert turning_points(values, h).tolist() == slow_turning_points(values, h)


@given(walks, st.floats(0.05, 1.0))
def test_legs_between_turning_points_reach_the_hysteresis_and_alternate(values, h):
    legs = np.diff(values[turning_points(values, h)])
    assert (np.abs(legs) >= h).all()
    assert (legs[1:] * legs[:-1] < 0).all()


@given(st.lists(st.integers(1, 20), max_size=20), st.integers(1, 20))
def test_groups_agree_with_the_slow_way(steps, longest):
    turns = np.cumsum([3, *steps])
    slow, current = [], [0]
    for i in range(1, len(turns) + 1):
        if i < len(turns) and turns[i] - turns[i - 1] <= longest:
            current.append(i)
            continue
        if len(current) >= 4:
            slow.append((current[0], current[-1] + 1))
        current = [i]
    assert group_turns(turns, longest) == slow


@pytest.mark.parametrize("fps", RATES)
@pytest.mark.parametrize("phase", [0.0, 0.1, 0.25, 0.4])
@pytest.mark.parametrize("shape", ["sine", "square"])
def test_alternating_02_m_at_1_hz_is_a_swing_of_04_m_at_1_hz(fps, phase, shape):
    offset = sine(0.4, 1.0, fps, phase=phase + 1e-6)
    offset = 0.2 * np.sign(offset) if shape == "square" else offset
    (swing,), _, _ = find_swings(offset, fps, H)
    assert swing.pp == pytest.approx(0.4, rel=0.06)  # a sine sampled ten times a period may miss 5 % of its peaks
    assert swing.hz == pytest.approx(1.0, rel=0.05)
    assert swing.turns >= 17


@pytest.mark.parametrize("fps", RATES)
@pytest.mark.parametrize(("sigma", "tau_s", "dof"), [(0.05, 0.0, 0.0), (0.04, 0.2, 3.0), (0.04, 0.5, 3.0)])
def test_noise_is_none(fps, sigma, tau_s, dof):
    """White noise, and what real networks have: correlated, Student's t with 3 degrees of freedom; ten minutes each."""
    noise = noise_of(np.random.default_rng(fps), 10 * 60 * fps, sigma, tau_s, fps, dof)
    swings, _, looked_at = find_swings(noise, fps, H)
    assert swings == []
    assert looked_at == len(noise)


@pytest.mark.parametrize("fps", [10, 15, 20, 25, 30])
@pytest.mark.parametrize("pp", [0.3, 0.5])
@pytest.mark.parametrize("sigma", [0.01, 0.03])
def test_every_10_s_window_from_06_to_2_hz_is_found(fps, pp, sigma):
    rng = np.random.default_rng(0)
    for hz in (0.6, 0.7, 1.0, 1.5, 2.0):
        for _ in range(6):
            offset = sine(pp, hz, fps, phase=rng.random()) + noise_of(rng, 10 * fps, sigma, 0.3, fps, 3.0)
            assert find_swings(offset, fps, H)[0], f"{hz} Hz was missed"


@given(st.floats(-2, 2), st.floats(-0.5, 0.5))
def test_bias_drift_and_sign_change_nothing(bias, drift):
    offset = sine(0.5, 1.0, 20)
    (plain,), _, _ = find_swings(offset, 20, H)
    (mirrored,), _, _ = find_swings(-offset, 20, H)
    (moved,), _, _ = find_swings(offset + bias, 20, H)
    assert (plain.start, plain.stop, plain.hz) == (mirrored.start, mirrored.stop, mirrored.hz)
    assert moved.pp == pytest.approx(plain.pp)
    assert find_swings(offset + drift * clock(10, 20) / 10, 20, H)[0]


def test_a_lane_change_and_back_is_no_swing():
    t = clock(20, 20)
    offset = 3.5 / (1 + np.exp(-2 * (t - 5))) - 3.5 / (1 + np.exp(-2 * (t - 12)))
    assert find_swings(offset, 20, H)[0] == []


def test_turns_that_are_too_far_apart_are_no_swing():
    assert find_swings(sine(0.5, 0.25, 20, seconds=30), 20, H)[0] == []


def test_three_turns_are_no_swing():
    offset = np.zeros(200)
    offset[60:88] = 0.4 * np.concatenate([np.hanning(14), -np.hanning(14)])  # where it sets out is the first of three
    assert find_swings(offset, 20, H)[0] == []
    assert find_swings(np.concatenate([np.zeros(50), np.hanning(40) * 0.5, np.zeros(50)]), 20, H)[0] == []


def test_a_gap_of_02_s_is_bridged_and_a_longer_one_splits():
    offset = sine(0.5, 1.0, 20, seconds=12)
    offset[118:122] = np.nan
    assert len(find_swings(offset, 20, H)[0]) == 1
    offset[117:123] = np.nan
    swings, _, looked_at = find_swings(offset, 20, H)
    assert len(swings) == 2
    assert looked_at == 234
    assert swings[0].stop < 117 < 123 <= swings[1].start


@pytest.mark.parametrize("fps", [5.0, 7.9, float("nan")])
def test_below_8_hz_it_does_not_run(fps):
    assert find_swings(sine(0.5, 1.0, 7), fps, H) is None


def test_no_stretch_of_a_second_does_not_run():
    offset = np.tile(np.append(np.zeros(15), np.full(6, np.nan)), 5)
    assert find_swings(offset, 20, H) is None


@pytest.mark.parametrize("pp", [0.05, 0.1, 0.17, 0.24])
def test_what_is_no_swing_yet_has_its_size(pp):
    """So that three steps of 0.17 m each show as steps toward a swing of 0.5 m."""
    swings, small, _ = find_swings(sine(pp, 1.0, 20), 20, H)
    assert not swings
    assert max(s.pp for s in small) == pytest.approx(pp, rel=0.1)


def test_what_is_no_swing_reads_the_hysteresis_at_most():
    offset = np.concatenate([sine(0.2, 1.0, 20, seconds=3), 0.5 * np.hanning(60), np.zeros(40)])
    _, small, _ = find_swings(offset, 20, H)
    assert all(s.pp <= H for s in small)


def test_the_owner_is_the_one_who_swings():
    rng = np.random.default_rng(3)
    still = rng.normal(scale=0.01, size=200)
    weave = sine(0.8, 0.5, 20, phase=0.2)
    swinging = sine(0.4, 1.0, 20)
    other = sine(0.4, 0.8, 20, phase=0.4)
    for car in (np.zeros(200), weave):
        assert owner_of(swinging - still, car + swinging, car + still, 20, H) == "candidate"
        assert owner_of(still - swinging, car + still, car + swinging, 20, H) == "reference"
        small, large = 0.5 * swinging, 0.5 * other
        assert owner_of(small - large, car + small, car + large, 20, H) == "both"


@pytest.mark.parametrize(
    ("lab", "car", "owner"), [(0.3, 0.85, "candidate"), (0.4, 0.3, "candidate"), (0.2, 0.2, "both")]
)
@pytest.mark.parametrize("weave", [0.0, 0.4])
def test_two_engines_that_swing_against_each_other_excuse_nobody(lab, car, owner, weave):
    """The candidate fails where its own swing alone is over the limit, whatever the reference does."""
    told = weave == 0 or owner == "candidate"  # a weaving car without ego data hides how far its own lines swing
    shared = sine(weave, 0.45, 20)
    reference, candidate = shared - sine(lab, 0.8, 20), shared + sine(car, 0.8, 20)
    (swing,), _, _ = find_swings(candidate - reference, 20, H, candidate=candidate, reference=reference)
    assert not told or swing.owner == owner


def test_a_smaller_swing_than_the_reference_s_own_is_the_reference_s():
    reference, candidate = sine(0.8, 0.8, 20), -sine(0.1, 0.8, 20)
    (swing,), _, _ = find_swings(candidate - reference, 20, H, candidate=candidate, reference=reference)
    assert swing.owner == "reference"


@given(hnp.arrays(np.float64, (2, 40), elements=st.floats(-1, 1)))
def test_whoever_is_clear_is_so_from_both_sides(pair):
    a, b = pair
    assume(np.ptp(a - b) > 0.01)
    wide = 1e9  # no part alone reaches it
    turned = {"candidate": "reference", "reference": "candidate", "both": "both"}
    assert owner_of(b - a, b, a, 20, wide) == turned[owner_of(a - b, a, b, 20, wide)]
