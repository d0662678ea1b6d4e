"""The low-pass is the Butterworth filter that it says it is."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.signal import butter, filtfilt, freqz

from harness.measures.spectrum import butterworth_gain, low_passed


@given(hnp.arrays(np.float64, st.integers(60, 90), elements=st.floats(-1, 1)), st.sampled_from([10.0, 20.0, 30.0]))
def test_it_agrees_with_scipys_filter_on_the_mirrored_series(values, fps):
    """scipy runs a recursion over the series and its two mirror images; the middle copy is compared."""
    b, a = butter(2, 3.0, fs=fps)
    mirrored = np.concatenate([values[::-1], values, values[::-1]])
    expected = filtfilt(b, a, mirrored, padlen=0)[len(values) : 2 * len(values)]
    np.testing.assert_allclose(low_passed(values, fps, 3.0), expected, atol=1e-6)


@pytest.mark.parametrize("fps", [8.0, 10.0, 25.0])
def test_the_gain_is_that_of_scipys_filter_squared(fps):
    hz = np.linspace(0, 0.49 * fps, 50)
    b, a = butter(2, 3.0, fs=fps)
    np.testing.assert_allclose(butterworth_gain(hz, fps, 3.0), np.abs(freqz(b, a, hz, fs=fps)[1]) ** 2, atol=1e-9)


@pytest.mark.parametrize("hz", [0.5, 1.0, 2.0, 3.0])
def test_a_long_sine_keeps_its_phase_and_that_gain(hz):
    wave = np.sin(2 * np.pi * hz * np.arange(1200) / 20)
    left = low_passed(wave, 20, 3.0)[400:800]
    np.testing.assert_allclose(left, butterworth_gain(hz, 20, 3.0) * wave[400:800], atol=1e-3)


@given(st.floats(-5, 5))
def test_a_constant_passes_unchanged(level):
    np.testing.assert_allclose(low_passed(np.full(50, level), 20, 3.0), level, atol=1e-9)


def test_half_the_frame_rate_does_not_pass():
    assert np.abs(low_passed(np.tile([1.0, -1.0], 100), 20, 3.0)[20:-20]).max() < 1e-3
