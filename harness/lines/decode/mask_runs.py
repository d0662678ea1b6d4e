"""Rows of a mask: runs of set pixels, how runs of neighbouring rows touch, and the unbranched pieces they form.

The edges of a run lie where the margin (how far a pixel is above the decision) crosses zero between two pixels, so the
centre of a run moves smoothly with the network's output instead of in half pixels.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Piece", "Runs", "find_runs", "pieces_of"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

EDGE_PIXELS_MAX = 1.0  # a crossing lies within one pixel outside the run
JUMP_OF_WIDTH = (
    0.35  # a centre that leaves its line by more than this share of the width, plus JUMP_PX, is another line
)
JUMP_PX = 1.5


@dataclass(frozen=True, slots=True)
class Runs:
    """Runs of one mask, sorted by row and column.

    Attributes:
        row: v, [runs].
        first, last: first and last pixel, u, [runs].
        left, right: sub-pixel edges, u, [runs].
        clipped: whether the run touches the left or right border of the mask, [runs].
    """

    row: Ints
    first: Ints
    last: Ints
    left: Floats
    right: Floats
    clipped: NDArray[np.bool_]

    def take(self, index: NDArray[np.generic]) -> Runs:
        """Some of the runs, in order."""
        return Runs(*(getattr(self, name)[index] for name in self.__slots__))


@dataclass(frozen=True, slots=True)
class Piece:
    """An unbranched piece of a line, near to far: one row each, upwards without a gap.

    Attributes:
        v: rows, falling by one.
        u: centres of the runs.
        width: of the runs, pixels.
    """

    v: Floats
    u: Floats
    width: Floats

    def cut(self, start: int, stop: int) -> Piece:
        """Rows start to stop of the piece."""
        return Piece(self.v[start:stop], self.u[start:stop], self.width[start:stop])


def find_runs(margin: NDArray[np.float32], *, bridge: int, widest: float) -> Runs:
    """Runs of pixels with positive margin.

    Args:
        margin: [height, width].
        bridge: holes of at most this many pixels in a row are part of the run.
        widest: wider runs are no part of a line (stop lines, blobs) and are left out, pixels.
    """
    height, width = margin.shape
    padded = np.zeros((height, width + 1), bool)
    np.greater(margin, 0, out=padded[:, :width])
    flat = padded.ravel()
    turns = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    if flat[0]:
        turns = np.concatenate([[0], turns])
    begin, end = turns[::2], turns[1::2]
    row, first, last = begin // (width + 1), begin % (width + 1), (end - 1) % (width + 1)
    apart = (row[1:] != row[:-1]) | (first[1:] - last[:-1] - 1 > bridge)
    starts, stops = np.concatenate([[True], apart]), np.concatenate([apart, [True]])
    if len(row) == 0:
        starts = stops = np.zeros(0, bool)
    row, first, last = row[starts], first[starts], last[stops]
    thin = last - first + 1 <= widest
    row, first, last = row[thin], first[thin], last[thin]
    return Runs(
        row,
        first,
        last,
        first - _crossing(margin, row, first, first - 1),
        last + _crossing(margin, row, last, last + 1),
        (first == 0) | (last == width - 1),
    )


def _crossing(margin: NDArray[np.float32], row: Ints, inside: Ints, outside: Ints) -> Floats:
    """How far beyond the centre of the inside pixel the margin reaches zero, 0..1; half a pixel at the border."""
    there = (outside >= 0) & (outside < margin.shape[1])
    within = margin[row, inside].astype(np.float64)
    beyond = np.where(there, margin[row, np.clip(outside, 0, margin.shape[1] - 1)], -within).astype(np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        part = within / (within - beyond)
    return np.where(np.isfinite(part), np.clip(part, 0, EDGE_PIXELS_MAX), 0.5)


def pieces_of(runs: Runs, *, least_rows: int) -> list[Piece]:
    """Unbranched pieces, from the bottom row up and left to right.

    Runs of neighbouring rows touch where they overlap or meet at a corner. Pieces end where a run touches several above
    or below (a fork), and where the centre leaves the line of its neighbours. Shorter pieces are specks and spurs; the
    pieces that a spur had split are one again.

    Args:
        runs: of one mask.
        least_rows: rows a piece must have.
    """
    chains = _chains(runs)
    if any(len(c) < least_rows for c in chains):
        kept = [c for c in chains if len(c) >= least_rows]
        runs = runs.take(np.sort(np.concatenate(kept)) if kept else np.zeros(0, np.int64))
        chains = _chains(runs)
    centre, width = (runs.left + runs.right) / 2, runs.right - runs.left
    pieces = []
    for chain in chains:
        free = chain[~runs.clipped[chain]]
        if len(free) >= least_rows:
            pieces.append(Piece(runs.row[free].astype(np.float64), centre[free], width[free]))
    return pieces


def _chains(runs: Runs) -> list[Ints]:
    """Positions of the runs of each unbranched chain, bottom row first."""
    up = _only_neighbour(runs, -1)
    down = _only_neighbour(runs, 1)
    index = np.arange(len(runs.row))
    mutual = (up >= 0) & (down[np.maximum(up, 0)] == index)
    up = np.where(mutual, up, -1)
    up[_leaving(runs, up)] = -1
    follows = np.zeros(len(up), bool)
    follows[up[up >= 0]] = True
    nexts = up.tolist()
    chains = []
    for start in np.flatnonzero(~follows)[::-1].tolist():
        chain = [start]
        while (start := nexts[start]) >= 0:
            chain.append(start)
        chains.append(np.array(chain, np.int64))
    return chains


def _only_neighbour(runs: Runs, step: int) -> Ints:
    """The run in the next row that each run touches, -1 where none or several: [runs]."""
    span = int(runs.last.max(initial=0)) + 4
    low = np.searchsorted(runs.row * span + runs.last, (runs.row + step) * span + runs.first - 1, side="left")
    high = np.searchsorted(runs.row * span + runs.first, (runs.row + step) * span + runs.last + 1, side="right")
    return np.where(high - low == 1, low, -1)


def _leaving(runs: Runs, up: Ints) -> NDArray[np.bool_]:
    """Links at which the centre leaves the line: of the two links of a run, the one that goes farther astray."""
    centre, width = (runs.left + runs.right) / 2, runs.right - runs.left
    linked = up >= 0
    step = np.where(linked, centre[np.maximum(up, 0)] - centre, np.nan)
    after = np.where(linked, step[np.maximum(up, 0)], np.nan)
    below = np.full(len(up), np.nan)
    below[up[linked]] = step[linked]
    narrow = np.minimum(width, np.where(linked, width[np.maximum(up, 0)], width))
    gate = JUMP_OF_WIDTH * narrow + JUMP_PX
    astray: NDArray[np.bool_] = (np.abs(step - after) > gate) & (np.abs(step - below) > gate)
    return astray
