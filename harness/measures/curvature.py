"""Curvature gap: how much more the candidate curves than the reference, band by band.

The curvature of d is that of its least-squares parabola over the band, twice its leading coefficient: one robust number
instead of second differences of noise. On roads, where a line's heading is small, the difference of the second
derivatives of two lines is the difference of their curvatures.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from harness.measures.blocks import BandBlock
from harness.measures.fit import BandFit

__all__ = ["curvature_gap", "curvature_gap_of"]

Floats = NDArray[np.float64]


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
    """`curvature_gap` of every pair and band."""
    return curvature_gap(block.fit, block.length)
