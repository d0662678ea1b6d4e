"""Flicker: lines that come and go more often than the reference's, and identities that change hands."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["excess_toggles", "id_swaps", "toggles", "toggles_per_min"]

_SHORTEST_S = 1.0
_SPREADS = 2.0


def toggles(present: NDArray[np.bool_]) -> int:
    """Times a line appears or disappears between neighbouring frames, [n]."""
    return int(np.count_nonzero(present[1:] != present[:-1]))


def excess_toggles(candidate: NDArray[np.bool_], reference: NDArray[np.bool_]) -> int:
    """Toggles of the candidate in excess of the reference's.

    Told in the frames in which the reference has the line: elsewhere the candidate's presence is not known, and a line
    that only the reference drops and takes up again is no coming and going of the candidate's. Beside a reference that
    blinks twice the spread of what two such engines differ by is left out, too: n toggles are n/2 blinks by chance.

    Args:
        candidate: the line has a partner in the candidate, [n], from the reference's first frame to its last.
        reference: the reference has the line, [n].
    """
    others = toggles(reference)
    return max(0, toggles(candidate[reference]) - others - int(_SPREADS * np.sqrt(4 * others)))


def toggles_per_min(candidate: NDArray[np.bool_], reference: NDArray[np.bool_], fps: float) -> float:
    """`excess_toggles` per minute.

    Args:
        candidate, reference: as there.
        fps: frames per second.

    Returns:
        1/min, never negative; NaN for a track that lives under a second, where one blink would read 120 and more.
    """
    if not len(reference) >= _SHORTEST_S * fps:
        return float("nan")
    return excess_toggles(candidate, reference) * 60 * fps / len(reference)


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
