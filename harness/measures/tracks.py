"""Tracks: which line of one frame is which line of the next.

A decoder with slots has named its lines already. Others are followed frame by frame: lines are assigned to the tracks
seen last as two rungs' lines are to each other (`harness.measures.assignment`). A track that misses a few frames is
taken up again.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from harness.lines.table import NO_SLOT, OPEN, LineTable
from harness.measures.assignment import (
    PAIRS_PER_BLOCK,
    WHOLE_LINE_SHARE,
    alone_cost,
    assign,
    contested,
    near_distance,
    order_cost,
    whole_distance,
)
from harness.measures.crowds import CHEAPEST, MOST_CANDIDATES, cheapest_of_each, pairs_nearby, positions

__all__ = ["NO_TRACK", "Tracker", "Tracks"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

NO_TRACK = -1
_PATIENCE_FRAMES = 5
_KEY = 1 << 32
_TOUCHING = 0.3  # of the gate: lines closer than this at one station and not at another meet or part


class Tracks(NamedTuple):
    """Track of each line, int32 [lines], NO_TRACK where none; and whether the line is at a merge or split, bool."""

    track: NDArray[np.int32]
    merging: NDArray[np.bool_]


class Tracker:
    """Follows the lines of one case; give it the chunks in order.

    Args:
        gate: largest mean lateral distance between two frames, in the unit of the lines (`Thresholds.match_gate`).
        slots: slots of the decoder; their tracks are their numbers, tracks of lines without a slot begin after them.
        patience: frames a line may be away and keep its track.
        merge_stations: how many stations, from near, tell what merges; None: all. In the image frame every pair of
            lines meets at the horizon, so only the near band can tell.
    """

    def __init__(
        self, gate: float, *, slots: int = 0, patience: int = _PATIENCE_FRAMES, merge_stations: int | None = None
    ) -> None:
        self._gate = gate
        self._merge_stations = merge_stations
        self._patience = patience
        self._next = slots
        self._ids = np.zeros(0, np.int32)
        self._seen = np.zeros(0, np.int64)
        self._last: Floats = np.zeros((0, 0))
        self._before: tuple[int, NDArray[np.int32]] | None = None  # last frame of the chunk before, its tracks

    def update(self, lines: LineTable, lateral: NDArray[np.floating[Any]]) -> Tracks:
        """Tracks of the next chunk.

        Args:
            lines: lines of the chunk, in frame order.
            lateral: lateral position at stations from near to far, [lines, stations], NaN where a line does not reach.
                The first 17 are the near band.

        Returns:
            A closed line without a slot, or one that reaches no station, has NO_TRACK.
        """
        track = np.where(lines.slot != NO_SLOT, lines.slot.astype(np.int32), NO_TRACK)
        every = np.asarray(lateral, np.float64)
        free = np.flatnonzero((track == NO_TRACK) & (lines.topology == OPEN) & np.isfinite(every).any(axis=1))
        for a, b in pairwise(np.flatnonzero(np.diff(lines.frame[free], prepend=-1, append=-1)).tolist()):
            rows = free[a:b]
            track[rows] = self._follow(int(lines.frame[rows[0]]), every[rows])
        merging = self._merging(lines.frame, track, every[:, : self._merge_stations])
        if len(lines):
            self._before = (int(lines.frame[-1]), track[lines.frame == lines.frame[-1]])
        return Tracks(track, merging)

    def _follow(self, frame: int, lateral: Floats) -> NDArray[np.int32]:
        """Assign the lines of one frame to tracks and begin tracks for the rest."""
        alive = frame - self._seen <= self._patience + 1
        self._ids, self._seen, self._last = self._ids[alive], self._seen[alive], self._last[alive]
        if len(self._ids) == 0:
            self._last = np.zeros((0, lateral.shape[1]))
        track = np.full(len(lateral), NO_TRACK, np.int32)
        row, known = self._known(lateral)
        track[row] = self._ids[known]
        self._seen[known], self._last[known] = frame, lateral[row]
        new = np.flatnonzero(track == NO_TRACK)
        track[new] = self._next + np.arange(len(new), dtype=np.int32)
        self._next += len(new)
        self._ids = np.concatenate([self._ids, track[new]])
        self._seen = np.concatenate([self._seen, np.full(len(new), frame)])
        self._last = np.concatenate([self._last, lateral[new]])
        return track

    def _known(self, lateral: Floats) -> tuple[Ints, Ints]:
        """(line, track seen last) of the lines that carry a track on."""
        one_frame = np.zeros(len(lateral), np.int64), np.zeros(len(self._ids), np.int64)
        found = [(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0))]
        for row, known in pairs_nearby(*one_frame, positions(lateral), positions(self._last), self._gate):
            near = near_distance(lateral, self._last, row, known)
            within = np.flatnonzero(near < self._gate)
            order = order_cost(row[within], known[within], self._gate)
            kept = within[cheapest_of_each(row[within], near[within] + order)]
            found.append((row[kept], known[kept], near[kept]))
        row, known, cost = (np.concatenate(parts) for parts in zip(*found, strict=True))
        unsure = np.flatnonzero(contested(row, known))  # the whole line counts where there is a choice
        for part in np.array_split(unsure, len(unsure) // PAIRS_PER_BLOCK + 1):
            whole = whole_distance(lateral, self._last, row[part], known[part], self._gate)
            cost[part] += WHOLE_LINE_SHARE * whole + order_cost(row[part], known[part], self._gate)
        chosen = assign(row, known, cost, alone_cost(self._gate))
        return row[chosen], known[chosen]

    def _merging(self, frame: NDArray[np.int64], track: NDArray[np.int32], lateral: Floats) -> NDArray[np.bool_]:
        """Lines that meet or part from another, and pairs within the gate of which one has just appeared."""
        merging = np.zeros(len(frame), np.bool_)
        born = self._born(frame, track)
        for i, j in _neighbours(frame, lateral):
            gap = np.abs(lateral[j] - lateral[i])
            narrow = np.min(gap, axis=1, initial=np.inf, where=np.isfinite(gap))
            wide = np.max(gap, axis=1, initial=-np.inf, where=np.isfinite(gap))
            touching = _TOUCHING * self._gate
            met = ((narrow < touching) & (wide >= touching)) | ((narrow < self._gate) & (born[i] | born[j]))
            merging[i[met]] = merging[j[met]] = True
        return merging

    def _born(self, frame: NDArray[np.int64], track: NDArray[np.int32]) -> NDArray[np.bool_]:
        """Lines whose track was not there in the frame before; in a case's first frame nothing is new."""
        key = frame * _KEY + track
        if self._before is None:
            before = key[frame == frame[:1]]
        else:
            before = (self._before[0] + 1) * _KEY + self._before[1].astype(np.int64)
        return np.isin(key, np.concatenate([key + _KEY, before]), invert=True)


def _neighbours(frame: NDArray[np.int64], lateral: Floats) -> Iterator[tuple[Ints, Ints]]:
    """Pairs of lines of one frame, each once: all of them, in a crowd each line with the nearest on either side."""
    _, of_frame, count = np.unique(frame, return_inverse=True, return_counts=True)
    crowded = count[of_frame] > MOST_CANDIDATES
    crowd = np.flatnonzero(crowded)
    crowd = crowd[np.lexsort((positions(lateral[crowd]), frame[crowd]))]
    for rows, most in ((np.flatnonzero(~crowded), MOST_CANDIDATES), (crowd, CHEAPEST)):
        longest = int(count[of_frame[rows]].max(initial=1))
        for k in range(1, min(longest, most + 1)):
            at = np.flatnonzero(frame[rows[k:]] == frame[rows[:-k]])
            yield rows[at], rows[at + k]
