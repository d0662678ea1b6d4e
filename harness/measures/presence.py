"""Presence: which lines are there, and how sure the model is of them."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from harness.errors import MetricError
from harness.lines.table import LineTable
from harness.measures.match import Matches
from harness.measures.stations import forward_of, reach
from harness.model.grid import Grid

__all__ = ["class_flip", "line_counts", "mean_reach", "score_gap"]


def line_counts(
    reference: LineTable, candidate: LineTable, matches: Matches, frames: ArrayLike
) -> dict[str, NDArray[np.int32]]:
    """Lines of every frame.

    Args:
        reference, candidate, matches: the lines and how they were matched.
        frames: frame numbers to count in, ascending; frames without lines count too.

    Returns:
        int32 [frames] each: `lines` of the candidate, `matched` pairs, `missing` reference lines, `extra` candidate
        lines.

    Raises:
        MetricError: a line in a frame that is not among `frames`.
    """
    numbers = np.asarray(frames, np.int64)
    return {
        "lines": _count(candidate.frame, numbers),
        "matched": _count(reference.frame[matches.reference], numbers),
        "missing": _count(reference.frame[matches.missing], numbers),
        "extra": _count(candidate.frame[matches.extra], numbers),
    }


def mean_reach(
    candidate: LineTable, lateral: NDArray[np.float64], frames: ArrayLike, grid: Grid
) -> NDArray[np.float64]:
    """How far ahead of the nearest station the lines of each frame reach, in the mean over them, float64 [frames].

    Args:
        candidate: the lines.
        lateral: at the band stations, [lines, 51].
        frames: frame numbers, ascending.
        grid: stations.

    Returns:
        In the stations' unit; NaN in a frame without a line along the road.
    """
    numbers = np.asarray(frames, np.int64)
    end = reach(lateral, grid.stations, grid.frame)
    ahead = forward_of(end, grid.frame) - forward_of(grid.stations, grid.frame).min()
    has = np.isfinite(ahead)
    place = np.searchsorted(numbers, candidate.frame[has])
    count = np.bincount(place, minlength=len(numbers))
    total = np.bincount(place, ahead[has], minlength=len(numbers))
    return np.asarray(np.where(count > 0, total / np.maximum(count, 1), np.nan))


def class_flip(reference: LineTable, candidate: LineTable, matches: Matches) -> NDArray[np.bool_]:
    """Whether the two lines of each pair have different classes, bool [pairs]."""
    flip: NDArray[np.bool_] = reference.category[matches.reference] != candidate.category[matches.candidate]
    return flip


def score_gap(reference: LineTable, candidate: LineTable, matches: Matches) -> NDArray[np.float64]:
    """Change of the margin to the decoder's score threshold, float64 [pairs]; negative: nearer to vanishing.

    Both rungs share one threshold, so it cancels: candidate score minus reference score.
    """
    before = reference.score[matches.reference].astype(np.float64)
    return candidate.score[matches.candidate].astype(np.float64) - before


def _count(of_lines: NDArray[np.int64], frames: NDArray[np.int64]) -> NDArray[np.int32]:
    place = np.searchsorted(frames, of_lines)
    if len(of_lines) and (len(frames) == 0 or (frames[np.minimum(place, len(frames) - 1)] != of_lines).any()):
        raise MetricError(
            "lines in frames that are not counted",
            where="line_counts(frames)",
            remedy="give every frame number of the lines, ascending",
        )
    return np.bincount(place, minlength=len(frames)).astype(np.int32)
