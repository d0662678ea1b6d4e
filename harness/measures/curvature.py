"""Curvature gap: how much more the candidate curves than the reference, band by band.

The curvature of d is that of its least-squares parabola, twice its leading coefficient: one robust number instead of
second differences of noise. `curvature_gap_of` reads it over three overlapping halves of the band and takes the
largest: over the whole band the two bends of an S cancel. On roads, where a line's heading is small, the difference of
the second derivatives of two lines is the difference of their curvatures.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from harness.measures.blocks import BandBlock
from harness.measures.fit import BandFit, fit_bands

__all__ = ["curvature_gap", "curvature_gap_of"]

Floats = NDArray[np.float64]

MIN_STATIONS = 5  # of the 9 of half a band


def curvature_gap(fit: BandFit, band_length: Floats) -> Floats:
    """|second derivative| of the least-squares parabola through d, per unit length (1/m or 1/px), never negative.

    A parabola of sagitta h over a band of length b has 8 h / b^2; white noise of sigma reads about 5.8 sigma / b^2 RMS.

    Args:
        fit: [..., bands].
        band_length: [bands], the length each band's stations span, positive.

    Returns:
        [..., bands]; NaN with fewer than three stations.
    """
    # the residual is free of mean and slope, so only the part of place^2 that is free of both can meet it
    square = fit.place**2
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = square.sum(axis=-1) / fit.count
        slope = np.vecdot(square, fit.place) / np.vecdot(fit.place, fit.place)
        arch = (square - mean[..., None] - slope[..., None] * fit.place) * fit.has
        leading = np.vecdot(fit.residual, arch) / np.where(fit.count > 2, np.vecdot(arch, arch), np.nan)
    gap: Floats = np.abs(2 * leading) / (band_length / 2) ** 2
    return gap


def curvature_gap_of(block: BandBlock) -> Floats:
    """The largest `curvature_gap` of three overlapping halves of every pair and band; NaN where no half has enough.

    White noise of sigma reads about 41 sigma / b^2 RMS for a band of length b, a parabola the same as over the band.
    """
    stations = block.offset.shape[-1]
    half = stations // 2 + 1
    starts = (0, (stations - half) // 2, stations - half)
    halves = [fit_bands(block.offset[..., start : start + half]) for start in starts]
    gaps = [np.where(f.count >= MIN_STATIONS, curvature_gap(f, block.length / 2), np.nan) for f in halves]
    largest: Floats = np.fmax.reduce(gaps)
    return largest
