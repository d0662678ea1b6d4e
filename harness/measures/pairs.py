"""Every measure of every matched pair of one chunk: what becomes rows of line_metrics.parquet."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.lines.table import CLOSED, LineTable
from harness.measures.band import band_columns, band_metrics
from harness.measures.chamfer import chamfer
from harness.measures.cross import cross_metrics
from harness.measures.match import Matches
from harness.measures.presence import class_flip, score_gap
from harness.measures.stations import is_longitudinal, reach_gap
from harness.model.grid import Grid

__all__ = ["PairMetrics", "pair_metrics"]

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class PairMetrics:
    """Measures of matched pairs, in the order of the matches.

    Attributes:
        bands: `band_columns()` -> float64 [pairs, 3]; NaN as band.py says, and throughout for closed lines.
        chamfer: [pairs], for closed lines and for open lines across the road; NaN for lines along it.
        class_flip: bool [pairs].
        score_gap: [pairs].
        reach_gap: [pairs], how much farther the candidate reaches, in the stations' unit; NaN for lines not along the
            road and where either has no station.
        offset: candidate minus reference at the band stations, [pairs, 51]; NaN for lines not along the road.
    """

    bands: dict[str, Floats]
    chamfer: Floats
    class_flip: NDArray[np.bool_]
    score_gap: Floats
    reach_gap: Floats
    offset: Floats


def pair_metrics(
    reference: LineTable,
    candidate: LineTable,
    matches: Matches,
    grid: Grid,
    reference_lateral: Floats,
    candidate_lateral: Floats,
) -> PairMetrics:
    """Measure the matched pairs of a chunk.

    Args:
        reference, candidate, matches: the lines and how they were matched.
        grid: stations, unit and lengths.
        reference_lateral, candidate_lateral: as for `harness.measures.match.match`, [lines, 51].
    """
    along = is_longitudinal(reference, grid.frame)[matches.reference]
    before = np.where(along[:, None], reference_lateral[matches.reference], np.nan)
    offset = candidate_lateral[matches.candidate] - before
    shape = (len(matches), *grid.stations.shape)
    bands = band_metrics(offset.reshape(shape), grid, np.isfinite(before).reshape(shape))
    distance = np.full(len(matches), np.nan)
    aside = np.flatnonzero(~along)
    if len(aside):
        pair = reference.take(matches.reference[aside]), candidate.take(matches.candidate[aside])
        distance[aside] = chamfer(*pair)
        is_open = pair[0].topology != CLOSED
        values = cross_metrics(pair[0].take(is_open), pair[1].take(is_open), grid)
        for name in band_columns():
            bands[name][aside[is_open]] = values[name]
    return PairMetrics(
        bands,
        distance,
        class_flip(reference, candidate, matches),
        score_gap(reference, candidate, matches),
        reach_gap(before, np.where(along[:, None], candidate_lateral[matches.candidate], np.nan), grid),
        offset,
    )
