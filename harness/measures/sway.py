"""Sway: the RMS of a series within a band of frequencies, 0.3 to 2 Hz for the offset.

The power is read from the cosine transform of each contiguous stretch, its straight line taken out first. A cosine
transform continues a stretch by its mirror image, so no jump at the ends leaks drift into the band, and a stretch of a
few seconds needs no filter to settle. Pool cases of equal frame rate by adding sums and counts.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.measures.series import fill_short_gaps
from harness.measures.windows import runs_of

__all__ = ["OWN_BAND_HZ", "SWAY_BAND_HZ", "band_power", "sway", "sway_sums"]

Floats = NDArray[np.float64]

SWAY_BAND_HZ = (0.3, 2.0)
OWN_BAND_HZ = (0.3, 3.0)
_SHORTEST_S = 2.0
_BRIDGED_S = 0.2


def band_power(values: Floats, fps: float, band_hz: tuple[float, float]) -> float:
    """Mean square of a gapless series within a band: the share of its variance at those frequencies.

    Args:
        values: a length at a fixed rate, finite, [n].
        fps: samples per second.
        band_hz: lowest and highest frequency, both included.

    Returns:
        Square length; 0 below 3 values.

    Source: Parseval's theorem for the orthonormal DCT-II, whose k-th row has frequency k fps / (2 n).
    """
    from scipy.fft import dct

    count = len(values)
    if count < 3:
        return 0.0
    at = np.arange(count) - (count - 1) / 2
    flat = values - values.mean()
    flat = flat - at * (at @ flat) / (at @ at)
    frequency_hz = np.arange(count) * fps / (2 * count)
    inside = (frequency_hz >= band_hz[0]) & (frequency_hz <= band_hz[1])
    return float(np.sum(dct(flat, type=2, norm="ortho")[inside] ** 2) / count)


def sway_sums(offset: NDArray[np.floating[Any]], fps: float) -> tuple[float, int]:
    """Sum of squares within 0.3 to 2 Hz and number of frames of one series: the accumulating half of sway.

    Gaps of at most 0.2 s are interpolated; stretches shorter than 2 s hold no full sway and are left out.

    Args:
        offset: candidate minus reference, NaN where missing, [frames].
        fps: frames per second.

    Returns:
        (square length, frames); (0.0, 0) where no stretch is long enough.
    """
    filled = fill_short_gaps(offset, int(_BRIDGED_S * fps + 1e-6))
    total, frames = 0.0, 0
    for a, b in zip(*runs_of(np.isfinite(filled)), strict=True):
        if b - a >= _SHORTEST_S * fps:
            total += band_power(filled[a:b], fps, SWAY_BAND_HZ) * int(b - a)
            frames += int(b - a)
    return total, frames


def sway(square_sum: float, frames: int) -> float:
    """RMS; NaN where nothing was counted."""
    return float(np.sqrt(square_sum / frames)) if frames else float("nan")
