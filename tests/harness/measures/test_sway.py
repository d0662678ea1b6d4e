"""Sway sees 0.3 to 2 Hz, whatever else the offset does."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from harness.measures.sway import OWN_BAND_HZ, SWAY_BAND_HZ, band_power, sway, sway_sums


def slow_band_power(values, fps, band):
    """The cosine series written out, one coefficient after the other."""
    n = len(values)
    if n < 3:
        return 0.0
    flat = values - np.polyval(np.polyfit(np.arange(n), values, 1), np.arange(n))
    total = 0.0
    for k in range(n):
        if band[0] <= k * fps / (2 * n) <= band[1]:
            wave = [np.cos(np.pi * k * (2 * i + 1) / (2 * n)) for i in range(n)]
            scale = 1 / n if k == 0 else 2 / n
            total += scale * sum(w * v for w, v in zip(wave, flat, strict=True)) ** 2
    return total / n


@given(
    hnp.arrays(np.float64, st.integers(0, 40), elements=st.floats(-5, 5)),
    st.floats(8, 30),
    st.sampled_from([SWAY_BAND_HZ, OWN_BAND_HZ]),
)
def test_agrees_with_the_slow_way(values, fps, band):
    assert band_power(values, fps, band) == pytest.approx(slow_band_power(values, fps, band), abs=1e-8)


def sine(hz, fps, seconds, phase=0.3):
    return 0.2 * np.sin(2 * np.pi * (hz * np.arange(int(seconds * fps)) / fps + phase))


@pytest.mark.parametrize("fps", [10, 20, 25])
@pytest.mark.parametrize("hz", [0.5, 1.0, 1.7])
def test_a_sine_inside_the_band_reads_its_rms(hz, fps):
    assert sway(*sway_sums(sine(hz, fps, 20), fps)) == pytest.approx(0.2 / np.sqrt(2), rel=0.05)


@pytest.mark.parametrize("hz", [0.1, 4.0])
def test_a_sine_outside_the_band_hardly_counts(hz):
    assert sway(*sway_sums(sine(hz, 25, 30), 25)) < 0.1 * 0.2 / np.sqrt(2)


@given(st.floats(-3, 3), st.floats(-1, 1))
def test_bias_and_steady_drift_are_not_sway(bias, drift):
    offset = bias + drift * np.arange(200) / 20
    assert sway(*sway_sums(offset, 20)) == pytest.approx(0, abs=1e-9)


def test_a_slow_lane_change_leaks_little():
    t = np.linspace(0, 20, 400)
    assert sway(*sway_sums(3.5 / (1 + np.exp(-(t - 10))), 20)) < 0.05


def test_short_gaps_are_bridged_and_long_ones_split():
    values = sine(1.0, 20, 20)
    values[100:103] = np.nan
    assert sway_sums(values, 20)[1] == 400
    values[200:230] = np.nan
    total, frames = sway_sums(values, 20)
    assert frames == 370
    assert sway(total, frames) == pytest.approx(0.2 / np.sqrt(2), rel=0.05)


def test_stretches_under_two_seconds_do_not_run():
    assert np.isnan(sway(*sway_sums(sine(1.0, 20, 1.9), 20)))
