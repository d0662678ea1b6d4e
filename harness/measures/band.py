"""All measures of longitudinal line pairs, band by band.

`coverage` is the share of the reference's stations in a band that the candidate has too. It is NaN where the reference
itself has less than 0.8 of the band's stations: there is no band to cover, and no candidate is to blame. Where it is
below 0.8 the candidate lost the band, and every other value is NaN: a coverage rule, not a bend rule, must catch that.

Where the reference has less of the band but MIN_STATIONS of its stations, what both lines have there is measured all
the same: a line that hooks away before the reference ends is seen. Only slope and curvature, which less length makes
less sure, need the band as a whole (`whole_band` in their entries).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from harness.errors import MetricError
from harness.measures.blocks import BandBlock
from harness.measures.fit import fit_bands
from harness.model.grid import Grid
from harness.run.catalogue import computed

__all__ = ["MIN_COVERAGE", "band_columns", "band_metrics", "coverage"]

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

MIN_COVERAGE = 0.8
MIN_STATIONS = 5  # of 17: a quarter of the band's length
PAIRS_PER_BLOCK = 512  # keeps the working set in the cache


def band_columns() -> tuple[str, ...]:
    """Columns that `band_metrics` gives: coverage, and every measure of line pairs with a function of its own."""
    return ("coverage", *(m.column for m in computed("line_metrics")))


def band_metrics(offset: Floats, grid: Grid, reference_has: Bools | None = None) -> dict[str, Floats]:
    """Every measure of docs/DESIGN.md section 4 that one pair has in one band.

    Args:
        offset: lateral position of candidate minus reference at `grid.stations`, [pairs, 3, 17], left positive, NaN
            where either line does not reach.
        grid: stations, unit and lengths.
        reference_has: which stations the reference has, [pairs, 3, 17]; None means all.

    Returns:
        `band_columns()` -> float64 [pairs, 3]. `offset_mean`, `heading` are signed, left positive; the others are never
        negative. Lengths in the grid's unit, heading and kink in radians, curvature_gap in 1/unit. See the module for
        what NaN means.

    Raises:
        MetricError: arrays that do not have the grid's shape.
    """
    expected = (len(offset), *grid.stations.shape)
    if offset.shape != expected or (reference_has is not None and reference_has.shape != expected):
        raise MetricError(
            f"offsets of shape {offset.shape} on {grid.stations.shape} stations",
            where="band_metrics(offset, reference_has)",
            remedy="give [pairs, bands, stations], sampled at grid.stations",
        )
    result = {name: np.empty(expected[:2]) for name in band_columns()}
    for first in range(0, len(offset), PAIRS_PER_BLOCK):
        rows = slice(first, first + PAIRS_PER_BLOCK)
        block = _block(offset[rows], grid, None if reference_has is None else reference_has[rows])
        for name, values in block.items():
            result[name][rows] = values
    return result


def coverage(both: Floats, reference: Floats | int, stations: int) -> Floats:
    """Share of the reference's stations that both lines have, [...].

    Args:
        both: how many stations both lines have, [...].
        reference: how many the reference has, [...].
        stations: how many the band has.

    Returns:
        0 to 1; NaN where the reference has less than MIN_COVERAGE of the band.
    """
    enough = np.asarray(reference) >= MIN_COVERAGE * stations
    return np.where(enough, both / np.maximum(reference, 1), np.nan)


def _block(offset: Floats, grid: Grid, reference_has: Bools | None) -> dict[str, Floats]:
    fit = fit_bands(offset)
    length = np.abs(grid.stations[:, -1] - grid.stations[:, 0])
    stations = offset.shape[-1]
    has = np.full(fit.count.shape, stations) if reference_has is None else reference_has.sum(axis=-1)
    share = coverage(fit.count, has, stations)
    block = BandBlock(offset, fit, length, grid)
    common = (has >= MIN_STATIONS) & (fit.count >= MIN_STATIONS) & (fit.count >= MIN_COVERAGE * has)
    result = {"coverage": share}
    for m in computed("line_metrics"):
        measured = share >= MIN_COVERAGE if m.whole_band else common
        result[m.column] = np.where(measured, m.function(block), np.nan)
    return result
