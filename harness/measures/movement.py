"""How far the lines of some outputs lie from those of others: one number to sort parts of a network by."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.lines.decode import Decoder
from harness.lines.table import LineTable
from harness.measures.match import match
from harness.measures.pairs import pair_metrics
from harness.measures.stations import resample
from harness.model.grid import Grid

__all__ = ["Movement", "Moving", "Outputs", "movement"]

Outputs = Mapping[str, NDArray[np.float32]]


@dataclass(frozen=True, slots=True)
class Movement:
    """How far outputs and lines lie from those of fp32, over all frames.

    Attributes:
        outputs: output -> RMS of the difference / RMS of fp32's; inf where a value no longer is finite, or where fp32
            gives zeros only; NaN for an output without elements.
        line_rms: RMS over all stations of all matched lines, in the grid's unit (m or px); closed lines and lines
            across the road count by their Chamfer distance. NaN where no line is matched.
        line_max: the greatest of these.
        lines_changed: lines missing or extra.
        cost: `line_rms` where every station of a missing or extra line counts as far off as a match may be; 0 where
            there are no lines. One number to sort by.
    """

    outputs: dict[str, float]
    line_rms: float
    line_max: float
    lines_changed: int
    cost: float


class Moving:
    """Adds up how far outputs and their lines lie from the reference, over chunks of frames.

    Args:
        grid: where lines are measured.
        decoder: of the card.
    """

    def __init__(self, grid: Grid, decoder: Decoder) -> None:
        self._grid, self._decoder = grid, decoder
        self._outputs: dict[str, tuple[float, float]] = {}
        self._squares = self._farthest = 0.0
        self._stations = self._changed = 0

    def add(self, reference: Outputs, other: Outputs, before: LineTable | None = None) -> None:
        """Add some frames.

        Args:
            reference, other: output -> [frames, ...].
            before: lines of the reference, where they are decoded already.
        """
        for name, values in reference.items():
            error, size = self._outputs.get(name, (0.0, 0.0))
            more = _squares(values, other[name])
            self._outputs[name] = error + more[0], size + more[1]
        lines = self._decoder.decode(dict(reference)) if before is None else before
        distances, changed = _distances(self._grid, lines, self._decoder.decode(dict(other)))
        self._squares += float((distances**2).sum())
        self._farthest = max(self._farthest, float(distances.max(initial=0.0)))
        self._stations += len(distances)
        self._changed += changed

    def movement(self) -> Movement:
        """What came together."""
        lost = self._changed * self._grid.stations.size
        total = self._squares + lost * self._grid.thresholds.match_gate**2
        matched = self._stations > 0
        return Movement(
            {name: _relative(error, size) for name, (error, size) in self._outputs.items()},
            float(np.sqrt(self._squares / self._stations)) if matched else np.nan,
            self._farthest if matched else np.nan,
            self._changed,
            float(np.sqrt(total / (self._stations + lost))) if self._stations + lost else 0.0,
        )


def movement(grid: Grid, decoder: Decoder, reference: Outputs, other: Outputs) -> Movement:
    """How far outputs and their lines lie from the reference; see `Moving`."""
    moving = Moving(grid, decoder)
    moving.add(reference, other)
    return moving.movement()


def _distances(grid: Grid, before: LineTable, after: LineTable) -> tuple[NDArray[np.float64], int]:
    """All distances of matched lines, and how many lines are missing or extra."""
    stations = grid.stations.ravel()
    laterals = resample(before, stations, grid.frame), resample(after, stations, grid.frame)
    found = match(before, after, grid, *laterals)
    pairs = pair_metrics(before, after, found, grid, *laterals)
    distances = np.abs(np.concatenate([pairs.offset.ravel(), pairs.chamfer]))
    return distances[np.isfinite(distances)], len(found.missing) + len(found.extra)


def _squares(reference: NDArray[np.float32], other: NDArray[np.float32]) -> tuple[float, float]:
    """Sums of the squares of the difference, inf where a value no longer is finite, and of the reference."""
    wide, moved = reference.astype(np.float64), other.astype(np.float64)
    fine = np.isfinite(wide)
    if (fine & ~np.isfinite(moved)).any():
        return np.inf, float((wide[fine] ** 2).sum())
    if not reference.size:
        return np.nan, 0.0
    return float(((moved[fine] - wide[fine]) ** 2).sum()), float((wide[fine] ** 2).sum())


def _relative(error: float, size: float) -> float:
    """RMS of the difference / RMS of the reference."""
    if np.isnan(error) or np.isinf(error):
        return error
    return float(np.sqrt(error / size)) if size > 0 else (np.inf if error > 0 else 0.0)
