"""Kink: the sharpest turn of the candidate relative to the reference, over a length L.

kink = max over stations s of the band of |d(s+L) - 2 d(s) + d(s-L)| / L. A line that turns by an angle at one station
reads that angle; L is 4, 8 and 16 m in near, mid and far, 8 % of the image height in the image frame.

s is a station of the band; s - L and s + L may lie in a neighbouring band, on the straight line between the two
stations around them. A station counts where every station it needs is there on both lines, so a turn within L of either
end of a line shows only in part: at a distance x from the last counted station it reads (1 - x / L) of its angle.

Source: ours, docs/DESIGN.md section 4.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

from harness.measures.blocks import BandBlock
from harness.measures.products import tall_product, weights_at
from harness.measures.stations import forward_of
from harness.model.grid import Grid

__all__ = ["kink", "kink_evenly", "kink_of"]

Floats = NDArray[np.float64]


def kink(offset: Floats, grid: Grid) -> Floats:
    """Sharpest turn of each band.

    Args:
        offset: candidate minus reference at the band stations, [lines, bands, stations], NaN where either is missing.
        grid: where the stations are, and L of each band.

    Returns:
        radians (small angles), [lines, bands], never negative; NaN where no station of the band can be counted.
    """
    turns, band = _turns(_as_key(grid.stations, grid), grid.thresholds.kink_length)
    flat = offset.reshape(len(offset), len(turns))
    lost = ~np.isfinite(flat)
    angle = np.abs(tall_product(np.where(lost, 0.0, flat), turns))
    rows = np.flatnonzero(lost.any(axis=1))
    if len(rows):
        needs_lost = tall_product(lost[rows].astype(np.float64), (turns != 0).astype(np.float64))
        angle[rows] = np.where(needs_lost > 0, np.nan, angle[rows])
    result = np.full((len(offset), grid.stations.shape[0]), np.nan)
    if angle.shape[1]:
        bands, first = np.unique(band, return_index=True)
        result[:, bands] = np.fmax.reduceat(angle, first, axis=1)
    return result


def kink_evenly(offset: Floats, spacing: Floats, length: Floats) -> Floats:
    """The same for lines that bring their own evenly spaced stations.

    Args:
        offset: [lines, stations], NaN where missing.
        spacing: distance between neighbouring stations of each line, [lines]; not positive or NaN: no kink.
        length: L of each line, [lines].

    Returns:
        [lines]; NaN where no station has L on both sides of it.
    """
    stations = offset.shape[1]
    column = np.arange(stations, dtype=np.float64)
    hop = np.where(spacing > 0, length / np.where(spacing > 0, spacing, 1.0), stations)[:, None]
    sides = [_at(offset, column - hop), _at(offset, column + hop)]
    angle = np.abs(sides[0] - 2 * offset + sides[1]) / length[:, None]
    sharpest: Floats = np.fmax.reduce(angle, axis=1)
    return sharpest


def _at(values: Floats, place: Floats) -> Floats:
    """Values [rows, columns] at fractional columns [rows, places], linear; NaN outside."""
    low = np.clip(np.floor(place), 0, values.shape[1] - 2).astype(np.int64)
    share = place - low
    left, right = np.take_along_axis(values, low, axis=1), np.take_along_axis(values, low + 1, axis=1)
    value = np.where(share == 0, left, np.where(share == 1, right, left + share * (right - left)))
    return np.where((share >= 0) & (share <= 1), value, np.nan)


def _as_key(stations: Floats, grid: Grid) -> tuple[tuple[float, ...], ...]:
    forward = forward_of(stations, grid.frame)
    return tuple(tuple(row) for row in forward.tolist())


@cache
def _turns(
    bands: tuple[tuple[float, ...], ...], lengths: tuple[float, float, float]
) -> tuple[Floats, NDArray[np.intp]]:
    """All countable turns as columns [stations of all bands, turns], and the band of each."""
    every = np.array([station for band in bands for station in band])
    columns, owner = [], []
    for index, (band, length) in enumerate(zip(bands, lengths, strict=True)):
        for station in band:
            if station - length >= every.min() - 1e-9 and station + length <= every.max() + 1e-9:
                weights = weights_at(every, station - length) - 2 * weights_at(every, station)
                columns.append((weights + weights_at(every, station + length)) / length)
                owner.append(index)
    turns = np.stack(columns, axis=1) if columns else np.zeros((len(every), 0))
    return turns, np.array(owner, np.intp)


def kink_of(block: BandBlock) -> Floats:
    """`kink` of every pair and band."""
    return kink(block.offset, block.grid)
