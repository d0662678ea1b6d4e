"""Average precision against ground truth, and that of lines that keep their identities.

In the order of their scores, each line takes the nearest true line of its frame where that is within the limit and has
not been taken: a hit, otherwise it is false. Average precision is the area under precision over recall, the mean of the
three Chamfer limits of F1. For the consistent one the first identity (slot or track) that hits a true line keeps it
for the case: a hit by another one is false. What the consistent one lacks is what tracking gets wrong.

Source: the consistency-aware mAP of Chen et al., MapTracker (ECCV 2024), held against the authors' own evaluation
(woodfrog/maptracker, tools/tracking/calculate_cmap.py). Departures: all classes are one; lines in frames without a true
line are false, there they are left out; a line without an identity, or a true line without a track, cannot be
inconsistent; scores are told apart to 11 bits (float16), and those of equal score make one step, so that memory does
not grow with the case.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from harness.measures.accuracy import NearLines
from harness.measures.tracks import NO_TRACK

__all__ = ["AveragePrecision"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

_FALSE = -1


class AveragePrecision:
    """Both measures of one rung over a case, chunk by chunk.

    Args:
        limits: Chamfer distances within which a line is a hit.
    """

    def __init__(self, limits: tuple[float, ...]) -> None:
        self._limits = limits
        self._true_lines = 0
        self._score = np.zeros(0, np.float16)  # different ones
        self._counts = np.zeros((0, 1 + 2 * len(limits)), np.int64)  # lines; hits; hits that are consistent
        self._keeper: list[dict[int, int]] = [{} for _ in limits]  # track of a true line -> identity that has it

    def add(self, near: NearLines, score: NDArray[np.float32], identity: Ints, true_track: NDArray[np.int32]) -> None:
        """Take the lines of some frames, in the order of time.

        Args:
            near: which lines count, and the pairs that are near each other (`accuracy_sums`).
            score: of each candidate line, [lines].
            identity: slot or track of each candidate line, [lines]; negative where it has none.
            true_track: of each true line, [true lines]; NO_TRACK where it has none.
        """
        self._true_lines += len(near.true_lines)
        told = np.nan_to_num(score.astype(np.float16), nan=-np.inf)[near.candidates]
        hits = [self._hits(near, score, k, identity, true_track) for k in range(len(self._limits))]
        both = np.array([h for pair in zip(*hits, strict=True) for h in pair], bool).reshape(2 * len(hits), len(score))
        counts = np.column_stack([np.ones(len(told), np.int64), both[:, near.candidates].T])
        every = np.concatenate([self._score, told])
        self._score, place = np.unique(every, return_inverse=True)
        summed = np.zeros((len(self._score), counts.shape[1]), np.int64)
        np.add.at(summed, place, np.concatenate([self._counts, counts]))
        self._counts = summed

    def values(self) -> tuple[float, float]:
        """(average precision, that of consistent lines); NaN without a true line."""
        lines, *hits = np.cumsum(self._counts[::-1], axis=0).T.astype(np.float64)
        if not self._true_lines:
            return float("nan"), float("nan")
        found = np.array([_area(h, lines, self._true_lines) for h in hits]).reshape(2, -1)
        plain, consistent = found.mean(axis=1).tolist()
        return plain, consistent

    def _hits(
        self, near: NearLines, score: NDArray[np.float32], k: int, identity: Ints, true_track: NDArray[np.int32]
    ) -> tuple[Bools, Bools]:
        """Candidate lines that hit a true line within the k-th limit, and those of them that keep it, [lines]."""
        partner = _partners(near, score, self._limits[k])
        hit = partner != _FALSE
        known = np.flatnonzero(hit & (identity >= 0))
        track = true_track[partner[known]]
        known, track = known[track != NO_TRACK], track[track != NO_TRACK]
        keeper, (tracks, first) = self._keeper[k], np.unique(track, return_index=True)
        for one, at in zip(tracks.tolist(), first.tolist(), strict=True):
            keeper.setdefault(one, int(identity[known[at]]))
        kept = np.array([keeper[one] for one in tracks.tolist()], np.int64)
        consistent = hit.copy()
        consistent[known] = identity[known] == kept[np.searchsorted(tracks, track)]
        return hit, consistent


def _partners(near: NearLines, score: NDArray[np.float32], limit: float) -> Ints:
    """The true line that each candidate line hits, [lines]; -1 where none.

    Candidates are taken frame by frame, so that no line of another frame is in the way.
    """
    order = np.lexsort((near.truth, near.distance, near.candidate))
    candidate, first = np.unique(near.candidate[order], return_index=True)
    nearest, distance = near.truth[order[first]], near.distance[order[first]]
    candidate, nearest = candidate[distance <= limit], nearest[distance <= limit]
    by_score = np.lexsort((candidate, -score[candidate], nearest))
    _, best = np.unique(nearest[by_score], return_index=True)
    partner = np.full(len(score), _FALSE)
    partner[candidate[by_score[best]]] = nearest[by_score[best]]
    return partner


def _area(hits: Floats, lines: Floats, true_lines: int) -> float:
    """Area under precision over recall; both from the cumulative counts of falling scores. Precision never rises."""
    precision = np.maximum.accumulate((hits / np.maximum(lines, 1))[::-1])[::-1]
    return float(np.sum(np.diff(hits, prepend=0.0) / true_lines * precision))
