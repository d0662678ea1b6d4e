"""The straight line through the offsets of each band; what is left over is what bending is made of."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["BandFit", "fit_bands"]

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
