"""Zero-phase filtering of short series through their cosine transform.

A cosine transform continues a series by its mirror image, so a filter applied there has no transient to settle and no
phase. Inside the series it is the Butterworth filter run forwards and backwards; scipy.signal, whose import costs more
than most replays spend on all of this, is not needed.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["butterworth_gain", "low_passed"]

Floats = NDArray[np.float64]


def low_passed(values: NDArray[np.floating[Any]], fps: float, cutoff_hz: float) -> Floats:
    """A second-order Butterworth low-pass, forwards and backwards; [n] -> [n], finite values at a fixed rate."""
    from scipy.fft import dct, idct

    count = len(values)
    frequency_hz = np.arange(count) * fps / (2 * count)
    gain = butterworth_gain(frequency_hz, fps, cutoff_hz)
    return np.asarray(idct(dct(np.asarray(values, np.float64), norm="ortho") * gain, norm="ortho"))


def butterworth_gain(hz: float | Floats, fps: float, cutoff_hz: float) -> Floats:
    """What both passes together leave of a sine: 1 / (1 + r^4).

    r is the ratio of the tangents of pi hz / fps and pi cutoff / fps: the frequencies that the bilinear transform of a
    digital filter warps to. Half the frame rate has gain 0.

    Source: closed form of the squared magnitude of `scipy.signal.butter(2, cutoff_hz, fs=fps)`.
    """
    below = np.minimum(np.asarray(hz, np.float64), 0.4999999 * fps)
    ratio = np.tan(np.pi * below / fps) / np.tan(np.pi * cutoff_hz / fps)
    return np.asarray(1 / (1 + ratio**4))
