"""Extra lines that are extra only because the reference has dropped its own for a moment.

A candidate that goes on drawing a line that the reference loses for two seconds or less has done nothing: the reference
blinks. What the reference lacks for longer, or never had, is the candidate's extra line.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from harness.lines.table import NO_SLOT
from harness.measures.match import Matches
from harness.measures.measured import Measured
from harness.measures.tracks import NO_TRACK

__all__ = ["Dropped", "identity"]

Ints = NDArray[np.int64]

_EXCUSED_NS = 2_000_000_000


def identity(lines: Measured) -> Ints:
    """What a line of one rung is called from frame to frame: its slot, else its own track, else the root's; [lines]."""
    own = np.where(lines.own_track != NO_TRACK, lines.own_track, lines.track)
    return np.where(lines.lines.slot != NO_SLOT, lines.lines.slot, own).astype(np.int64)


class Dropped:
    """Remembers, chunk after chunk, which of the reference's lines each of the candidate's was matched with last."""

    def __init__(self) -> None:
        self._last: dict[int, tuple[int, int]] = {}  # candidate's identity -> (time, the reference's identity)

    def by_reference(
        self, reference: Measured, candidate: Measured, found: Matches, frames: Ints, times_ns: Ints
    ) -> NDArray[np.bool_]:
        """Which of the extra lines the reference has dropped, bool [extra].

        Args:
            reference, candidate, found: lines of a chunk and how they were matched.
            frames, times_ns: of the chunk, ascending.
        """
        mine, theirs = identity(candidate), identity(reference)
        own, other = mine[found.candidate], theirs[found.reference]
        when = times_ns[np.searchsorted(frames, reference.lines.frame[found.reference])]
        dropped = np.zeros(len(found.extra), np.bool_)
        for k, line in enumerate(found.extra):
            frame, name = candidate.lines.frame[line], int(mine[line])
            now = int(times_ns[np.searchsorted(frames, frame)])
            before = np.flatnonzero((own == name) & (when < now))
            last = (int(when[before[-1]]), int(other[before[-1]])) if len(before) else self._last.get(name)
            if name == NO_TRACK or last is None or now - last[0] > _EXCUSED_NS:
                continue
            dropped[k] = last[1] not in theirs[reference.lines.frame == frame]
        for name in np.unique(own).tolist():
            at = np.flatnonzero(own == name)[-1]
            self._last[name] = int(when[at]), int(other[at])
        return dropped
