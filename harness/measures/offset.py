"""Offset: where the candidate lies beside the reference, and the straight line through it in each band.

d(s) = lateral position of the candidate minus that of the reference at station s, left positive. The least-squares line
through d gives its mean and `heading`; what is left over, the residual, is what bending is made of (`bend`,
`curvature`).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from harness.measures.blocks import BandBlock
from harness.measures.fit import BandFit

__all__ = ["heading", "heading_of", "offset_max", "offset_max_of", "offset_mean", "offset_mean_of"]

Floats = NDArray[np.float64]


def offset_mean(fit: BandFit) -> Floats:
    """Mean of d over the stations both lines have, signed, left positive, [...]; NaN without any."""
    return fit.mean


def offset_max(offset: Floats) -> Floats:
    """Largest |d|, never negative, [...]; NaN without stations.

    Args:
        offset: [..., stations], NaN where missing.
    """
    largest: Floats = np.fmax.reduce(np.abs(offset), axis=-1)
    return largest


def heading(fit: BandFit, band_length: Floats) -> Floats:
    """Slope of d from near to far, lateral per forward length (radians where small), left positive.

    Args:
        fit: [..., bands].
        band_length: [bands], the length each band's stations span, positive.

    Returns:
        [..., bands]; NaN with fewer than two stations.
    """
    return fit.slope / (band_length / 2)


def offset_mean_of(block: BandBlock) -> Floats:
    """`offset_mean` of every pair and band."""
    return offset_mean(block.fit)


def offset_max_of(block: BandBlock) -> Floats:
    """`offset_max` of every pair and band."""
    return offset_max(block.offset)


def heading_of(block: BandBlock) -> Floats:
    """`heading` of every pair and band."""
    return heading(block.fit, block.length)
