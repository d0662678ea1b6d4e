"""What ground truth is held against besides the model: its own best constant lines, and its own continuity.

The best constant line of a true line draws, wherever the truth has that line, the one lateral position at each station
that costs least over the case (of LEVELS quantiles of the true ones). It knows the case and where the line is, so a
network that draws one picture for ever is no better: skill above it needs eyes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.lines.table import LineTable
from harness.measures.match import match
from harness.measures.stations import resample
from harness.measures.tracks import NO_TRACK, Tracker
from harness.model.grid import STATIONS_PER_BAND, Grid

__all__ = ["NOT_LABELLED", "NO_TRUE_LINE", "Steadiness", "TruthLines", "true_lines_of", "truth_lines"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

LEVELS = 41
NO_TRUE_LINE, NOT_LABELLED = -1, -2


@dataclass(frozen=True)
class TruthLines:
    """The ground truth of a case.

    Attributes:
        lines: in the model's frame.
        track: of each line over time, int32 [lines], NO_TRACK where none (closed lines, none at a station).
        constant: best constant line of each line's track at the grid's stations, [lines, 51]; NaN where it has none.
        lateral: the lines at the grid's stations, [lines, 51]; NaN where they do not reach.
        at_look_ahead: the lines at `grid.series_stations`, divided by `grid.series_scale`, [lines, look-aheads].
    """

    lines: LineTable
    track: NDArray[np.int32]
    constant: Floats
    lateral: Floats
    at_look_ahead: Floats

    def of_frames(self, frames: Ints) -> TruthLines:
        """The lines of some frames."""
        rows = np.isin(self.lines.frame, frames)
        return TruthLines(
            self.lines.take(rows), self.track[rows], self.constant[rows], self.lateral[rows], self.at_look_ahead[rows]
        )


def truth_lines(lines: LineTable, grid: Grid) -> TruthLines:
    """Follow the true lines through their case and find their best constant lines."""
    lateral = resample(lines, grid.stations, grid.frame)
    merge = None if grid.frame == "vehicle" else STATIONS_PER_BAND
    slots = int(lines.slot.max(initial=-1)) + 1
    track = Tracker(grid.thresholds.match_gate, slots=slots, merge_stations=merge).update(lines, lateral).track
    constant = np.full_like(lateral, np.nan)
    for k in np.unique(track[track != NO_TRACK]):
        rows = track == k
        has = np.isfinite(lateral[rows]).any(axis=0)
        constant[np.ix_(rows, has)] = _cheapest(lateral[rows][:, has], grid.thresholds.match_gate)
    return TruthLines(
        lines, track, constant, lateral, resample(lines, grid.series_stations, grid.frame) / grid.series_scale
    )


def true_lines_of(truth: TruthLines | None, labelled: Ints, lines: LineTable, lateral: Floats, grid: Grid) -> Ints:
    """Which true line each line of a model is, [lines].

    Args:
        truth: of the case.
        labelled: frames with ground truth.
        lines, lateral: the model's, in frame order, and where they are at the grid's stations.
        grid: stations and match gate.

    Returns:
        Its place in `truth.lines`, NO_TRUE_LINE where it is none, NOT_LABELLED in frames without ground truth.
    """
    found = np.full(len(lines), NOT_LABELLED, np.int64)
    if truth is None:
        return found
    seen = np.isin(lines.frame, labelled)
    found[seen] = NO_TRUE_LINE
    if not seen.any():
        return found
    rows = np.flatnonzero(np.isin(truth.lines.frame, lines.frame[seen]))
    matches = match(truth.lines.take(rows), lines, grid, truth.lateral[rows], lateral, by_slot=False)
    found[matches.candidate] = rows[matches.reference]
    return found


def _cheapest(lateral: Floats, gate: float) -> Floats:
    """The position at each station with the least cost over the frames, [stations]; of [frames, stations]."""
    levels = np.nanquantile(lateral, np.linspace(0, 1, LEVELS), axis=0)
    cost = [np.nansum(np.minimum(np.abs(lateral - level), gate), axis=0) for level in levels]
    best: Floats = levels[np.argmin(cost, axis=0), np.arange(lateral.shape[1])]
    return best


@dataclass
class Steadiness:
    """How steadily true lines are found: a line that the truth has in two frames after one another is found in both
    (stable), in one (flickering) or in neither (missing).

    Source: the stability, flickering and missing rates of Jin, Kim and Kim, Recursive Video Lane Detection (ICCV 2023),
    held against the authors' own evaluation (dongkwonjin/RVLD, evaluate_temporal.py): of true lines that are one in two
    successive frames, the shares found in both, in one and in neither. Departures: found is within 0.5 m Chamfer
    distance, there IoU above 0.5 of lines drawn 30 px wide; true lines are one by their tracks, there by that IoU.

    Attributes:
        counts: stable, flickering, missing pairs of frames so far.
    """

    counts: Ints

    @classmethod
    def none(cls) -> Steadiness:
        """Nothing looked at yet."""
        return cls(np.zeros(3, np.int64))

    def __post_init__(self) -> None:
        self._last: dict[int, tuple[int, bool]] = {}

    def add(self, frame: Ints, track: NDArray[np.int32], found: Bools, frames: Ints) -> None:
        """Take true lines in the order of time, [lines]; `frames` are all that were looked at, ascending."""
        follows = dict(zip(frames[1:].tolist(), frames[:-1].tolist(), strict=True))
        if len(frames) and self._last:
            follows[int(frames[0])] = max(f for f, _ in self._last.values())
        for f, k, hit in zip(frame.tolist(), track.tolist(), found.tolist(), strict=True):
            if k == NO_TRACK:
                continue
            before = self._last.get(k)
            if before is not None and follows.get(f) == before[0]:
                self.counts[0 if hit and before[1] else 1 if hit or before[1] else 2] += 1
            self._last[k] = (f, hit)

    @property
    def shares(self) -> Floats:
        """Stable, flickering and missing share, [3]; NaN where no line was there twice."""
        with np.errstate(invalid="ignore", divide="ignore"):
            shares: Floats = self.counts / self.counts.sum()
        return shares
