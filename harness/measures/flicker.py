"""Flicker: lines that come and go more often than the reference's, and identities that change hands."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Toggles", "id_swaps", "toggles"]

_SHORTEST_S = 1.0
_SPREADS = 2.0


def toggles(present: NDArray[np.bool_]) -> int:
    """Times a line appears or disappears between neighbouring frames, [n]."""
    return int(np.count_nonzero(present[1:] != present[:-1]))


@dataclass(frozen=True, slots=True)
class Toggles:
    """Comings and goings of a line in some steps; those of further steps may be added.

    Told in the frames in which the reference has the line: elsewhere the candidate's presence is not known, and a line
    that only the reference drops and takes up again is no coming and going of the candidate's.

    Attributes:
        candidate: toggles of the candidate.
        reference: toggles of the reference.
        steps: how many there are.
    """

    candidate: int = 0
    reference: int = 0
    steps: int = 0

    @classmethod
    def of(cls, candidate: NDArray[np.bool_], reference: NDArray[np.bool_], fresh: int = 0) -> Toggles:
        """Of the steps from `fresh` on.

        Args:
            candidate: the line has a partner in the candidate, [n], from the reference's first frame to its last.
            reference: the reference has the line, [n].
            fresh: steps before it were counted before.
        """
        both, context = candidate[reference], np.count_nonzero(reference[:fresh])
        return cls(
            toggles(both[max(context - 1, 0) :]), toggles(reference[max(fresh - 1, 0) :]), len(reference) - fresh
        )

    def __add__(self, other: Toggles) -> Toggles:
        return Toggles(
            self.candidate + other.candidate, self.reference + other.reference, self.steps + other.steps
        )  # fmt: skip

    @property
    def excess(self) -> int:
        """Toggles of the candidate in excess of the reference's.

        Beside a reference that blinks twice the spread of what two such engines differ by is left out, too: n toggles
        are n/2 blinks by chance.
        """
        return max(0, self.candidate - self.reference - int(_SPREADS * np.sqrt(4 * self.reference)))

    def per_min(self, fps: float) -> float:
        """The excess per minute, never negative; NaN for a track that lives under a second.

        One blink of that would read 120 and more.
        """
        return self.excess * 60 * fps / self.steps if self.steps >= _SHORTEST_S * fps else float("nan")


def id_swaps(
    frame: NDArray[np.int64], reference_track: NDArray[np.int32], candidate_track: NDArray[np.int32]
) -> NDArray[np.bool_]:
    """Which matches pair a reference track with another candidate track than its previous match did.

    Only decoders without slots can swap: a slot is an identity.

    Args:
        frame: frame of each match, [n], any order.
        reference_track: track of the reference's line, [n].
        candidate_track: the candidate's own track of its partner, [n]; negative where it has none.

    Returns:
        bool [n]; the first match of a track is no swap.
    """
    swapped = np.zeros(len(frame), np.bool_)
    order = np.lexsort((frame, reference_track))
    order = order[candidate_track[order] >= 0]
    same = reference_track[order][1:] == reference_track[order][:-1]
    swapped[order[1:]] = same & (candidate_track[order][1:] != candidate_track[order][:-1])
    return swapped
