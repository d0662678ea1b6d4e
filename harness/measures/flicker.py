"""Flicker: lines that come and go more often than the reference's, and identities that change hands."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["id_swaps", "toggles", "toggles_per_min"]

_SHORTEST_S = 1.0


def toggles(present: NDArray[np.bool_]) -> int:
    """Times a line appears or disappears between neighbouring frames, [n]."""
    return int(np.count_nonzero(present[1:] != present[:-1]))


def toggles_per_min(candidate: NDArray[np.bool_], reference: NDArray[np.bool_], fps: float) -> float:
    """Toggles of the candidate in excess of the reference's, per minute.

    Args:
        candidate: the line has a partner in the candidate, [n], from the reference's first frame to its last.
        reference: the reference has the line, [n].
        fps: frames per second.

    Returns:
        1/min, never negative; NaN for a track that lives under a second, where one blink would read 120 and more.
    """
    if not len(reference) >= _SHORTEST_S * fps:
        return float("nan")
    excess = max(0, toggles(candidate) - toggles(reference))
    return excess * 60 * fps / len(reference)


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
