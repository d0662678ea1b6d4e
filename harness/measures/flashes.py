"""Lines of the reference that flash up: there for two seconds or less, and never drawn by the candidate.

What each engine does by itself tells whose a missing line is: the reference's line came and went, the candidate did
nothing. A line that is there when the recording begins or ends may be a long one and is none; ground truth knows better
than both (`harness.measures.against`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.measures.tracks import NO_TRACK

__all__ = ["FLASH_NS", "Life", "Lives"]

Ints = NDArray[np.int64]

FLASH_NS = 2_000_000_000
_GAP_NS = 500_000_000  # a line that is away for longer has begun anew


@dataclass(slots=True)
class Life:
    """One life of a line of the reference.

    Attributes:
        first_ns, last_ns: when it was there.
        found: the candidate had it in some frame.
        whole: the recording had begun half a second before it did.
    """

    first_ns: int
    last_ns: int
    found: bool
    whole: bool

    def is_flash(self, now_ns: int) -> bool:
        """Whether it was one, as seen at a later time."""
        ended = now_ns - self.last_ns > _GAP_NS
        return self.whole and ended and not self.found and self.last_ns - self.first_ns <= FLASH_NS


class Lives:
    """Follows the reference's lines of one case, chunk by chunk."""

    def __init__(self) -> None:
        self._begin_ns: int | None = None
        self._open: dict[int, Life] = {}

    def of_lines(self, track: NDArray[np.int32], time_ns: Ints, found: NDArray[np.bool_], begin_ns: int) -> list[Life]:
        """The life of each line of a chunk, [lines]; it goes on changing with later chunks.

        Args:
            track: of each line, in the order of time; lines without one have a life of their own that is no flash.
            time_ns: of its frame.
            found: the candidate has it.
            begin_ns: first time of the chunk.
        """
        if self._begin_ns is None:
            self._begin_ns = begin_ns
        self._open = {k: life for k, life in self._open.items() if begin_ns - life.last_ns <= _GAP_NS}
        order = np.lexsort((time_ns, track))
        t, k, has = time_ns[order], track[order], found[order]
        lives: list[Life] = [Life(0, 0, True, False)] * len(t)
        if not len(t):
            return lives
        starts = np.flatnonzero(np.append(True, (np.diff(k) != 0) | (np.diff(t) > _GAP_NS))).tolist()
        for a, b in zip(starts, [*starts[1:], len(t)], strict=True):
            life = self._life(int(k[a]), int(t[a]), int(t[b - 1]), bool(has[a:b].any()))
            for place in order[a:b].tolist():
                lives[place] = life
        return lives

    def _life(self, track: int, first_ns: int, last_ns: int, found: bool) -> Life:
        assert self._begin_ns is not None  # of_lines saw to it
        if track == NO_TRACK:
            return Life(first_ns, last_ns, True, False)
        before = self._open.get(track)
        if before is not None and first_ns - before.last_ns <= _GAP_NS:
            before.last_ns, before.found = last_ns, before.found or found
            return before
        life = Life(first_ns, last_ns, found, first_ns - self._begin_ns > _GAP_NS)
        self._open[track] = life
        return life
