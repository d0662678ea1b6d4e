"""Which dumped frame belongs to which frame of a case, and what is wrong where none does.

A dumped frame and a frame of the case are a pair where each is the other's nearest in time and the two are no further
apart than the tolerance; so a dumped frame never stands in for a neighbour, however wide the tolerance is.

A frame of the case without a partner was dropped where the dump's own rhythm says that it should be there: the gap
around it is longer than 1.5 of the dump's median steps. Elsewhere (before the dump begins, after it ends, between the
frames of a dump that keeps every third) nobody claims to have recorded it, and it counts for nothing.

Times that do not match are explained where they can be: another unit (milliseconds for nanoseconds) or a constant
offset between the clocks. Both are told, never applied unasked.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["UNITS_NS", "Alignment", "Shift", "align", "estimate_shift", "likely_unit"]

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

UNITS_NS: Mapping[str, int] = {"ns": 1, "us": 1_000, "ms": 1_000_000, "s": 1_000_000_000}
NONE = -1
LEAST_SHARE = 0.5  # of the dumped frames within the case's time, or of the case's within the dump's, must be paired
LEAST_FRAMES = 5  # fewer pairs are none, unless they are half of the case
_GAP_STEPS = 1.5
_PROBED = 400  # frames that vote on a shift
_SHIFTED = 200  # frames to each side by which a shift may be off where the two do not begin together


@dataclass(frozen=True, slots=True)
class Shift:
    """A constant offset of the dump's clock.

    Attributes:
        offset_ns: how much later the dump's times are, nanoseconds; negative where they are earlier.
        matched: pairs there are once it is taken away.
    """

    offset_ns: int
    matched: int


@dataclass(frozen=True)
class Alignment:
    """The pairs of one dump and one case.

    Attributes:
        position: dumped frame of each frame of the case, int64 [frames], NONE where it has none.
        dropped: frames without a partner that the dump should have, bool [frames].
        dumped: frames in the dump.
        within: dumped frames within the case's time.
        nearest_ns: distance of the nearest pair of any two frames, >= 0.
        offset_ns: median of dumped minus case time over the pairs; 0 where there are none.
    """

    position: Ints
    dropped: Bools
    dumped: int
    within: int
    nearest_ns: int
    offset_ns: int

    @property
    def matched(self) -> int:
        """Frames of the case with a partner."""
        return int((self.position != NONE).sum())

    @property
    def comparable(self) -> bool:
        """Whether enough frames are paired for a comparison to mean something."""
        frames, matched = len(self.position), self.matched
        overlapping = matched + int(self._between().sum())
        share = max(matched / max(self.within, 1), matched / max(overlapping, 1))
        return matched >= min(LEAST_FRAMES, frames * LEAST_SHARE) and matched > 0 and share >= LEAST_SHARE

    def _between(self) -> Bools:
        """Frames without a partner between the first and the last that have one."""
        free = self.position == NONE
        paired = np.flatnonzero(~free)
        inside = np.zeros(len(free), bool)
        if len(paired):
            inside[paired[0] : paired[-1] + 1] = True
        between: Bools = free & inside
        return between


def align(case_ns: Ints, dump_ns: Ints, tolerance_ns: int) -> Alignment:
    """Pair the frames of a case with those of a dump.

    Args:
        case_ns: times of the case's frames, strictly increasing, at least one.
        dump_ns: times of the dumped frames, strictly increasing, at least one.
        tolerance_ns: how far a pair may be apart.
    """
    of_case, gap_ns = _nearest(case_ns, dump_ns)
    of_dump, _ = _nearest(dump_ns, case_ns)
    paired = (gap_ns <= tolerance_ns) & (of_dump[of_case] == np.arange(len(case_ns)))
    position = np.where(paired, of_case, NONE)
    half_ns = _step_ns(case_ns) // 2 + tolerance_ns
    within = (dump_ns >= case_ns[0] - half_ns) & (dump_ns <= case_ns[-1] + half_ns)
    offsets = dump_ns[of_case[paired]] - case_ns[paired]
    return Alignment(
        position,
        ~paired & _in_a_gap(case_ns, dump_ns),
        len(dump_ns),
        int(within.sum()),
        int(gap_ns.min()),
        round(float(np.median(offsets))) if paired.any() else 0,
    )


def estimate_shift(case_ns: Ints, dump_ns: Ints, tolerance_ns: int) -> Shift:
    """The constant offset of the dump's clock that pairs the most frames; of several the smallest.

    Times alone cannot tell an offset from one that is a whole frame larger where the dump begins or ends elsewhere than
    the case. Raises nothing; where nothing matches under any offset, `matched` is small.
    """
    candidates = _candidates(case_ns, dump_ns)
    probes = dump_ns[_spread(len(dump_ns), _PROBED)]
    votes = np.array([(_nearest(probes - shift, case_ns)[1] <= tolerance_ns).sum() for shift in candidates])
    best: Shift | None = None
    for shift in candidates[votes >= votes.max() - 1]:
        refined = int(shift) + align(case_ns, dump_ns - shift, tolerance_ns).offset_ns
        found = Shift(refined, align(case_ns, dump_ns - refined, tolerance_ns).matched)
        if best is None or (found.matched, -abs(found.offset_ns)) > (best.matched, -abs(best.offset_ns)):
            best = found
    assert best is not None  # both clips have a frame, so there is a candidate
    return best


def likely_unit(case_ns: Ints, dump_ns: Ints, tolerance_ns: int) -> str:
    """The unit that the dump's times are in, read as nanoseconds though they are not; "" where none fits better.

    A unit fits where most frames match once the times are in it, under whatever constant offset.

    Args:
        case_ns: times of the case.
        dump_ns: times of the dump, taken as they stand.
        tolerance_ns: how far a pair may be apart.
    """
    for unit, factor in UNITS_NS.items():
        if factor == 1 or abs(int(dump_ns[-1])) > np.iinfo(np.int64).max // factor:
            continue
        slack_ns = max(tolerance_ns, factor)  # whole milliseconds are as exact as they are
        enough = max(LEAST_FRAMES, LEAST_SHARE * min(len(case_ns), len(dump_ns)))
        if estimate_shift(case_ns, dump_ns * factor, slack_ns).matched >= enough:
            return unit
    return ""


def _nearest(times: Ints, others: Ints) -> tuple[Ints, Ints]:
    """For each time the position of the nearest other one (the earlier of two), and its distance."""
    right = np.clip(np.searchsorted(others, times), 0, len(others) - 1)
    left = np.maximum(right - 1, 0)
    to_left, to_right = np.abs(others[left] - times), np.abs(others[right] - times)
    return np.where(to_left <= to_right, left, right), np.minimum(to_left, to_right)


def _in_a_gap(case_ns: Ints, dump_ns: Ints) -> Bools:
    """Whether a time lies in a hole of the dump, longer than its frames are usually apart."""
    if len(dump_ns) < 2:
        return np.zeros(len(case_ns), bool)
    after = np.searchsorted(dump_ns, case_ns)
    inside = (after > 0) & (after < len(dump_ns))
    after = np.clip(after, 1, len(dump_ns) - 1)
    return inside & (dump_ns[after] - dump_ns[after - 1] > _GAP_STEPS * _step_ns(dump_ns))


def _step_ns(times: Ints) -> int:
    """Median distance of neighbours; 0 for a single frame."""
    return int(np.median(np.diff(times))) if len(times) > 1 else 0


def _candidates(case_ns: Ints, dump_ns: Ints) -> Ints:
    """Offsets to try: a few dumped frames laid on the case's frames around the place where they would be."""
    found = [np.zeros(1, np.int64)]
    for share in (0.0, 0.5, 1.0):
        anchor = dump_ns[round(share * (len(dump_ns) - 1))]
        by_rank = round(share * (len(case_ns) - 1))
        by_time = int(_nearest(np.array([anchor]), case_ns)[0][0])
        for middle in (by_rank, by_time):
            found.append(anchor - case_ns[max(0, middle - _SHIFTED) : middle + _SHIFTED + 1])
    return np.unique(np.concatenate(found))


def _spread(count: int, most: int) -> NDArray[Any]:
    """Up to so many positions, evenly over all."""
    return np.unique(np.linspace(0, count - 1, min(count, most)).round().astype(np.int64))
