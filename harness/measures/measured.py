"""The lines of one rung in a chunk, laid on the stations and ready to be compared."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.lines.chunk import Ints, RungOutputs
from harness.lines.table import LineTable
from harness.measures.stations import resample
from harness.measures.tracks import NO_TRACK
from harness.measures.truth import NOT_LABELLED
from harness.model.grid import STATIONS_PER_BAND, Grid

__all__ = ["Measured", "measured"]

Floats = NDArray[np.float64]
BAND_STATIONS = 3 * STATIONS_PER_BAND


@dataclass
class Measured:
    """Lines of one rung in a chunk of n frames.

    Attributes:
        lines: as decoded.
        at_bands: lateral positions at the band stations, [lines, 51].
        at_look_ahead: at `grid.series_stations`, divided by `grid.series_scale`, [lines, look-aheads].
        track: the root's track of each line, NO_TRACK where it matches none.
        own_track: of the rung's own tracker, NO_TRACK where its lines have slots.
        merging: at a merge or split, bool [lines]; known of the root's lines.
        nonfinite: elements of the outputs that are not finite, [n].
        true_line: which true line each is (`harness.measures.truth.true_lines_of`), [lines].
    """

    lines: LineTable
    at_bands: Floats
    at_look_ahead: Floats
    track: NDArray[np.int32]
    own_track: NDArray[np.int32]
    merging: NDArray[np.bool_]
    nonfinite: Ints
    true_line: Ints


def measured(outputs: RungOutputs, grid: Grid) -> Measured:
    """Lay the lines of a chunk on the stations; tracks and true lines are for the caller to fill."""
    lines = outputs.lines
    lateral = resample(lines, np.concatenate([grid.stations.ravel(), grid.series_stations]), grid.frame)
    none = np.full(len(lines), NO_TRACK, np.int32)
    return Measured(
        lines,
        lateral[:, :BAND_STATIONS],
        lateral[:, BAND_STATIONS:] / grid.series_scale,
        none,
        none.copy(),
        np.zeros(len(lines), bool),
        _nonfinite(outputs),
        np.full(len(lines), NOT_LABELLED, np.int64),
    )


def _nonfinite(outputs: RungOutputs) -> Ints:
    """NaN and infinite elements of each frame over all outputs, int64 [n]."""
    count = np.zeros(np.count_nonzero(outputs.valid), np.int64)
    for values in outputs.stacked.values():
        if values.dtype.kind == "f":
            flat = values.reshape(len(values), -1)
            with np.errstate(invalid="ignore", over="ignore"):
                bad = np.flatnonzero(~np.isfinite(flat.sum(axis=1, dtype=np.float64)))  # one pass where all is well
            count[bad] += np.count_nonzero(~np.isfinite(flat[bad]), axis=1)
    found = np.zeros(len(outputs.valid), np.int64)
    found[outputs.valid] = count
    return found
