"""Bend: how far the candidate is bent relative to the reference within one band, or across the edge to the band before.

bend = max over stations i < j < k of |d_j - chord_ik(s_j)|, the straightness (minimum-zone width) of d: the width,
measured laterally, of the narrowest strip that holds every d, twice the error of the best Chebyshev line. A shift or a
rotation has bend 0; a bow or bump of 0.2 m reads 0.2 m; white noise of 0.02 m along the line reads 0.10 m at p99. A bow
that straddles two bands is found in the stretch from the middle of one to the middle of the other (`bend_between`).

Each triple is a linear functional of d, so all 680 triples of 17 stations are one matrix product. A gap between two
stations is bridged by the chord across it, which changes no strip; so only the missing ends of a band choose the
triples.

Source: ours, docs/DESIGN.md section 4; straightness as in ISO 12780-1, minimum zone.
"""

from __future__ import annotations

from functools import cache
from itertools import combinations, pairwise

import numpy as np
from numpy.typing import NDArray

from harness.measures.blocks import BandBlock
from harness.measures.fit import BandFit, fit_bands
from harness.measures.products import tall_product, weights_at
from harness.measures.stations import forward_of
from harness.model.grid import Grid

__all__ = ["bend", "bend_between", "bend_of", "bend_rms", "bend_rms_of"]

Floats = NDArray[np.float64]

MIN_STRETCH = 0.8
ROWS_PER_BLOCK = 256  # 256 x 680 float32 stay in the second-level cache


def bend(fit: BandFit) -> Floats:
    """Straightness of d, [...], never negative, in the offsets' unit; NaN with fewer than three stations.

    Computed in float32 on the residual of the fitted line, which has the same bend: the error is of the order of 1e-7
    of the residual, not of the offset.
    """
    shape, stations = fit.count.shape, fit.residual.shape[-1]
    residual = fit.residual.reshape(-1, stations)
    has = fit.has.reshape(-1, stations) > 0
    result = np.full(len(residual), np.nan)
    first, last = _ends(has)
    inner = np.flatnonzero(last - first + 1 > fit.count.ravel())
    values = residual.astype(np.float32)
    values[inner] = _bridged(residual[inner], has[inner])
    kind = np.where(fit.count.ravel() >= 3, first * stations + last, -1)
    for group in np.unique(kind):
        rows = np.flatnonzero(kind == group)
        if group >= 0:
            result[rows] = _widest(values[rows], _triples(stations, int(group // stations), int(group % stations)))
    return result.reshape(shape)


def bend_rms(fit: BandFit) -> Floats:
    """RMS of d about its least-squares line, [...]; NaN with fewer than two stations."""
    with np.errstate(invalid="ignore", divide="ignore"):
        rms: Floats = np.sqrt(np.vecdot(fit.residual, fit.residual) / fit.count)
    return rms


def _ends(has: NDArray[np.bool_]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """First and last station that each row has."""
    return has.argmax(axis=1), has.shape[1] - 1 - has[:, ::-1].argmax(axis=1)


def _bridged(values: Floats, has: NDArray[np.bool_]) -> Floats:
    """Rows with every inner gap filled by the straight line across it; missing ends are left alone."""
    column = np.arange(values.shape[1])
    before = np.maximum.accumulate(np.where(has, column, 0), axis=1)
    after = np.minimum.accumulate(np.where(has, column, column[-1])[:, ::-1], axis=1)[:, ::-1]
    share = (column - before) / np.maximum(after - before, 1)
    left, right = np.take_along_axis(values, before, axis=1), np.take_along_axis(values, after, axis=1)
    return np.where(has, values, left + share * (right - left))


def _widest(values: NDArray[np.float32], triples: NDArray[np.float32]) -> NDArray[np.float32]:
    """Largest absolute value of any triple, [rows]."""
    widest = np.empty(len(values), np.float32)
    for start in range(0, len(values), ROWS_PER_BLOCK):
        rows = slice(start, start + ROWS_PER_BLOCK)
        heights = tall_product(values[rows], triples)
        np.maximum(heights.max(axis=1), -heights.min(axis=1), out=widest[rows])
    return widest + 0.0  # no -0.0


@cache
def _triples(stations: int, first: int, last: int) -> NDArray[np.float32]:
    """d -> d_j - chord_ik(s_j) for first <= i < j < k <= last, float32 [stations, triples]."""
    i, j, k = np.array(list(combinations(range(first, last + 1), 3))).T
    matrix = np.zeros((stations, len(i)))
    triple = np.arange(len(i))
    matrix[j, triple] = 1
    matrix[i, triple] = -(k - j) / (k - i)
    matrix[k, triple] = -(j - i) / (k - i)
    return matrix.astype(np.float32)


def bend_between(offset: Floats, grid: Grid) -> Floats:
    """Bend of the stretches from the middle of one band to the middle of the next: a bow may straddle their edge.

    Args:
        offset: candidate minus reference at the band stations, [pairs, bands, stations], NaN where either is missing.
        grid: where the stations are.

    Returns:
        [pairs, bands - 1]; NaN where less than MIN_STRETCH of a stretch is there.
    """
    weights = _stretches(tuple(map(tuple, forward_of(grid.stations, grid.frame).tolist())))
    flat = offset.reshape(len(offset), grid.stations.size)
    lost = ~np.isfinite(flat)
    result = np.full((len(offset), len(weights)), np.nan)
    for k, stretch in enumerate(weights):
        there = tall_product(np.where(lost, 0.0, flat), stretch)
        there[tall_product(lost.astype(np.float64), (stretch != 0).astype(np.float64)) > 0] = np.nan
        fit = fit_bands(there)
        result[:, k] = np.where(fit.count >= MIN_STRETCH * there.shape[1], bend(fit), np.nan)
    return result


@cache
def _stretches(bands: tuple[tuple[float, ...], ...]) -> list[Floats]:
    """Weights [stations of all bands, stations of a stretch] that read evenly spaced places of each stretch."""
    every = np.array([station for band in bands for station in band])
    middles = [(band[0] + band[-1]) / 2 for band in bands]
    places = [np.linspace(a, b, len(bands[0])) for a, b in pairwise(middles)]
    return [np.stack([weights_at(every, place) for place in stretch], axis=1) for stretch in places]


def bend_of(block: BandBlock) -> Floats:
    """`bend` of every pair and band; a band also has that of the stretch across its nearer edge."""
    own = bend(block.fit)
    across = np.full_like(own, np.nan)
    across[:, 1:] = bend_between(block.offset, block.grid)
    return np.where(np.isnan(own), np.nan, np.fmax(own, across))


def bend_rms_of(block: BandBlock) -> Floats:
    """`bend_rms` of every pair and band."""
    return bend_rms(block.fit)
