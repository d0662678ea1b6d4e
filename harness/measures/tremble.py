"""Tremble: the RMS of a line's movement from 3 to 8 Hz, so that nothing lies between swing and jitter.

Read from the cosine transform of every window of 2 s, its straight line taken out, as sway is over a whole stretch.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from harness.measures.blocks import StationBlock, Stretch
from harness.measures.jumps import without_glitches
from harness.measures.own import excess
from harness.measures.series import MIN_FPS, fill_short_gaps
from harness.measures.windows import window_starts

__all__ = ["TREMBLE_BAND_HZ", "tremble_of", "tremble_windows"]

Floats = NDArray[np.float64]

TREMBLE_BAND_HZ = (3.0, 8.0)
WINDOW_S = 2.0
_HOP_S = 0.25
_BRIDGED_S = 0.2
_LEAK_HZ = 0.5 / WINDOW_S  # a tone at the band's edge spreads over the neighbouring rows of the transform


def tremble_windows(values: Floats, fps: float) -> tuple[NDArray[np.int64], int, Floats]:
    """RMS from 3 to 8 Hz in every window of 2 s, a quarter of a second apart.

    Args:
        values: lengths at a fixed rate, NaN where missing, of one series [n] or several [..., n]; gaps up to 0.2 s are
            interpolated, single frames far off the others count for nothing.
        fps: values a second, 8 at least.

    Returns:
        (first value of each window, values of a window, RMS of each, [..., windows]); NaN where a window has a longer
        gap; no windows where the series is shorter.

    Source: Parseval's theorem for the orthonormal DCT-II, whose k-th row has frequency k fps / (2 n).
    """
    from scipy.fft import dct

    width = round(WINDOW_S * fps)
    count, series = values.shape[-1], values.shape[:-1]
    if count < width:
        return np.zeros(0, np.int64), width, np.zeros((*series, 0))
    starts = window_starts(count, width, max(1, round(_HOP_S * fps)))
    longest = int(_BRIDGED_S * fps + 1e-6)
    filled = [fill_short_gaps(x, longest) for x in without_glitches(values, fps).reshape(-1, count)]
    windows = np.stack([x[starts[:, None] + np.arange(width)] for x in filled])
    at = np.arange(width) - (width - 1) / 2
    flat = windows - windows.mean(axis=-1, keepdims=True)
    flat -= ((flat @ at) / (at @ at))[..., None] * at
    frequency_hz = np.arange(width) * fps / (2 * width)
    low_hz, high_hz = TREMBLE_BAND_HZ[0] - _LEAK_HZ, TREMBLE_BAND_HZ[1] + _LEAK_HZ
    inside = (frequency_hz >= low_hz) & (frequency_hz <= high_hz)
    power = np.sum(dct(flat.reshape(-1, width), type=2, norm="ortho", axis=1)[:, inside] ** 2, axis=1) / width
    return starts, width, np.sqrt(power).reshape(*series, len(starts))


def tremble_of(block: StationBlock) -> list[Stretch] | None:
    """The 2 s in which the candidate's own tremble is worst; None below 8 Hz and where no window is without a gap."""
    if not block.fps >= MIN_FPS:
        return None
    starts, width, (offset, *own) = tremble_windows(block.with_own(), block.fps)
    if not np.isfinite(offset).any():
        return None
    sizes = excess(offset, *own)
    worst = int(np.nanargmax(sizes))
    return [Stretch(int(starts[worst]), int(starts[worst] + width - 1), float(sizes[worst]))]
