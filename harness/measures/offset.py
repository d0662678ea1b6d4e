"""Offset: where the candidate lies beside the reference, and the straight line through it in each band.

d(s) = lateral position of the candidate minus that of the reference at station s, left positive. The least-squares line
through d gives its mean and `heading`; what is left over, the residual, is what bending is made of (`bend`,
`curvature`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["BandFit", "fit_bands", "heading", "offset_max", "offset_mean"]

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class BandFit:
    """Least-squares lines through the offsets of many bands; stations are evenly spaced over a band.

    Attributes:
        has: 1.0 where both lines have the station, else 0.0, float64 [..., stations].
        count: stations both lines have, float64 [...].
        place: place of each station minus the mean place of those both have, in half bands, 0 where missing,
            [..., stations]; a band runs from -1 to 1, near to far.
        mean: mean offset, [...]; NaN without stations.
        slope: slope in offset per half band, [...]; NaN with fewer than two stations.
        residual: offset minus line, 0 where missing, [..., stations].
    """

    has: Floats
    count: Floats
    place: Floats
    mean: Floats
    slope: Floats
    residual: Floats


def fit_bands(offset: Floats) -> BandFit:
    """Fit the least-squares line to each band.

    Args:
        offset: candidate minus reference, [..., stations], left positive, near to far, NaN where either line is
            missing.
    """
    has = np.isfinite(offset).astype(np.float64)
    filled = np.where(has > 0, offset, 0.0)
    places = np.linspace(-1, 1, offset.shape[-1])
    with np.errstate(invalid="ignore", divide="ignore"):
        count = has.sum(axis=-1)
        mean = filled.sum(axis=-1) / count
        place = (places - (has @ places / count)[..., None]) * has
        above_mean = (filled - mean[..., None]) * has
        slope = np.vecdot(above_mean, place) / np.vecdot(place, place)
        residual = above_mean - slope[..., None] * place
    return BandFit(has, count, place, mean, slope, residual)


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
