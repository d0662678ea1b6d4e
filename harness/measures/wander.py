"""Wander: a line that goes left and right too slowly for swing: the ping-pong in the lane that a driver feels.

Half a second's median and a low-pass at 1 Hz leave what is slow; a zigzag keeps the turning points between which it
travels the threshold or more; four of them in a row, each within 5.5 s of the last, are a wander. What a delay or a
difference proportional to the road's curvature explains is none: both go left and right as the road does.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from harness.measures.blocks import StationBlock, Stretch
from harness.measures.series import MIN_FPS, fill_short_gaps
from harness.measures.spectrum import low_passed
from harness.measures.swing import SMALLER, group_turns, turning_points
from harness.measures.windows import running_median, runs_of

__all__ = ["LONGEST_TURN_S", "wander_of"]

Floats = NDArray[np.float64]

LONGEST_TURN_S = 5.5
LOW_PASS_HZ = 1.0
MEDIAN_S = 0.5
SHORTEST_STRETCH_S = 6.0
BRIDGED_GAP_S = 0.2
_EXPLAINED = 0.7  # of the squared difference: less may be chance, with a few turns and two things to explain them


def wander_of(block: StationBlock) -> list[Stretch] | None:
    """Wanders with their mean width between turning points; None below 8 Hz and without a stretch of 6 s.

    It turns too slowly for an engine's own series, in which the drive itself wanders, to tell whose it is: a lasting
    difference, so the candidate's.
    """
    if not block.fps >= MIN_FPS:
        return None
    filled = fill_short_gaps(block.lasting, int(BRIDGED_GAP_S * block.fps + 1e-6))
    found: list[Stretch] = []
    looked = False
    for a, b in zip(*runs_of(np.isfinite(filled)), strict=True):
        if b - a >= SHORTEST_STRETCH_S * block.fps:
            looked = True
            found += _of_stretch(block, filled, slice(int(a), int(b)))
    return found if looked else None


def _of_stretch(block: StationBlock, filled: Floats, part: slice) -> list[Stretch]:
    """Wanders; without one what turns as often with legs of a half, a quarter or an eighth, whose size is told."""
    threshold = block.threshold("wander")
    slow = _slow(filled[part], block.fps)
    if np.ptp(slow) < SMALLER[-1] * threshold:
        return []
    left = _unexplained(slow, [_slow(x[part], block.fps) for x in _explanations(block)])
    levels = (_with_legs(block, left, part.start, share) for share in (1.0, *SMALLER))
    return next((found for found in levels if found), [])


def _with_legs(block: StationBlock, left: Floats, start: int, share: float) -> list[Stretch]:
    """With legs of this share of the threshold or more; a smaller one reads the threshold at most."""
    threshold = block.threshold("wander")
    turns = turning_points(left, share * threshold)
    found = []
    for first, last in group_turns(turns, LONGEST_TURN_S * block.fps):
        steps = turns[first:last]
        legs = float(np.mean(np.abs(np.diff(left[steps]))))
        legs = legs if share == 1 else min(legs, threshold)
        found.append(Stretch(start + int(steps[0]), start + int(steps[-1]), legs))
    return found


def _slow(values: Floats, fps: float) -> Floats:
    return low_passed(running_median(values, 2 * int(MEDIAN_S * fps / 2) + 1), fps, LOW_PASS_HZ)


def _explanations(block: StationBlock) -> list[Floats]:
    """The reference's speed sideways, which a delay adds, and the curvature of its line; gaps are bridged."""
    known = [_bridged(x) for x in (block.reference, block.curvature)]
    return [np.gradient(known[0]), known[1]] if len(block.offset) > 1 else []


def _bridged(values: Floats) -> Floats:
    there = np.flatnonzero(np.isfinite(values))
    return np.interp(np.arange(len(values)), there, values[there]) if len(there) else np.zeros(len(values))


def _unexplained(slow: Floats, explanations: list[Floats]) -> Floats:
    """What is left of a series; all of it where the explanations take less than most of its squares."""
    centred = slow - slow.mean()
    columns = np.stack([x - x.mean() for x in explanations], axis=1)
    rest = centred - columns @ np.linalg.lstsq(columns, centred, rcond=None)[0]
    return np.asarray(rest if rest @ rest <= (1 - _EXPLAINED) * (centred @ centred) else slow)
