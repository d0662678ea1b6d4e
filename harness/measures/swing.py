"""Swing (左右甩): a line that goes left and right again and again, which no single frame shows.

The offset series is low-passed at 3 Hz without phase; a zigzag keeps the turning points between which it travels the
hysteresis h or more; four of them in a row, each within 1.7 s of the last, are a swing. Who swings is told from the
power of each engine's own series: the car may weave, and the reference may be the one that swings.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.measures.own import Owner
from harness.measures.series import MIN_FPS, fill_short_gaps
from harness.measures.spectrum import butterworth_gain, low_passed
from harness.measures.sway import OWN_BAND_HZ, band_power
from harness.measures.windows import runs_of

__all__ = ["LOW_PASS_HZ", "SMALLER", "Swing", "find_swings", "group_turns", "owner_of", "turning_points"]

Floats = NDArray[np.float64]

LOW_PASS_HZ = 3.0
LONGEST_TURN_S = 1.7
MIN_TURNS = 4
SMALLER = (1 / 2, 1 / 4, 1 / 8)  # of the hysteresis, for the size of what is no swing yet
BRIDGED_GAP_S = 0.2
SHORTEST_STRETCH_S = 1.0
_CLEAR_SHARE = 0.5


@dataclass(frozen=True, slots=True)
class Swing:
    """One swing: steps of its first and last turning point, how wide, how fast, whose.

    pp is the peak-to-peak width in the series' unit, hz the frequency.
    """

    start: int
    stop: int
    turns: int
    pp: float
    hz: float
    owner: Owner


def find_swings(
    offset: NDArray[np.floating[Any]],
    fps: float,
    hysteresis: float,
    *,
    candidate: NDArray[np.floating[Any]] | None = None,
    reference: NDArray[np.floating[Any]] | None = None,
    fresh: int = 0,
) -> tuple[list[Swing], list[Swing], int] | None:
    """Swings of one offset series.

    Args:
        offset: candidate minus reference at one station, NaN where missing, [n], at a fixed rate.
        fps: steps per second.
        hysteresis: h, the least leg between turning points, in the unit of `offset`.
        candidate: the candidate's own ego-compensated position, [n]; with `reference` it decides the owner.
        reference: the reference's own, [n]. Without both the owner is `candidate`.
        fresh: steps before it were looked at before, and are no longer counted.

    Returns:
        (swings in order of time, smaller ones, fresh steps that could be looked at). The smaller ones have legs of a
        half, a quarter or an eighth of h, the largest of these that the candidate has; they are no swings, and tell
        how far from one a rung is. None below 8 Hz or where no stretch lasts a
        second: the metric did not run, which is not the same as no swing.

    Source: docs/DESIGN.md section 4. Gaps up to 0.2 s are interpolated, longer ones split the series.
    """
    if not fps >= MIN_FPS:
        return None
    bridged = int(BRIDGED_GAP_S * fps + 1e-6)
    filled = fill_short_gaps(offset, bridged)
    own = None
    if candidate is not None and reference is not None:
        own = (fill_short_gaps(candidate, bridged), fill_short_gaps(reference, bridged))
    swings: list[Swing] = []
    small: list[Swing] = []
    looked_at, looked = 0, False
    for a, b in zip(*runs_of(np.isfinite(filled)), strict=True):
        if b - a < SHORTEST_STRETCH_S * fps:
            continue
        looked_at, looked = looked_at + max(int(b) - max(int(a), fresh), 0), True
        smooth = low_passed(filled[a:b], fps, LOW_PASS_HZ)
        swings += _swings_of_stretch(filled, smooth, int(a), int(b), fps, hysteresis, own)
        for part in SMALLER:
            found = _swings_of_stretch(filled, smooth, int(a), int(b), fps, part * hysteresis, own)
            small += [replace(s, pp=min(s.pp, hysteresis)) for s in found]
            if any(s.owner == "candidate" for s in found):
                break
    return (swings, small, looked_at) if looked else None


def _swings_of_stretch(
    filled: Floats, smooth: Floats, a: int, b: int, fps: float, hysteresis: float, own: tuple[Floats, Floats] | None
) -> list[Swing]:
    if np.ptp(smooth) < hysteresis:
        return []
    turns = turning_points(smooth, hysteresis)
    found = []
    for first, last in group_turns(turns, LONGEST_TURN_S * fps):
        steps = turns[first:last]
        hz = (len(steps) - 1) * fps / (2 * int(steps[-1] - steps[0]))
        margin = round(fps / hz / 2)
        span = slice(max(a, a + int(steps[0]) - margin), min(b, a + int(steps[-1]) + margin + 1))
        owner: Owner = "candidate"
        if own is not None:
            owner = owner_of(filled[span], own[0][span], own[1][span], fps, hysteresis)
        pp = _width(smooth[steps], filled[span], hz, fps)
        found.append(Swing(a + int(steps[0]), a + int(steps[-1]), len(steps), pp, hz, owner))
    return found


def _width(turns: Floats, raw: Floats, hz: float, fps: float) -> float:
    """Mean leg, the low-pass undone at the swing's frequency; never wider than what was measured.

    A square alternation rings in the low-pass; the range of the raw series bounds it.
    """
    legs = float(np.mean(np.abs(np.diff(turns)))) / float(butterworth_gain(hz, fps, LOW_PASS_HZ))
    return min(legs, float(np.ptp(raw)))


def turning_points(values: Floats, hysteresis: float) -> NDArray[np.int64]:
    """Zigzag: extremes with legs of at least `hysteresis` between them; [n] -> indices.

    An extreme counts once the series has left it by `hysteresis`; the first one needs no leg before it, but must lie
    inside the series, whose ends turn nowhere. Only local extremes are walked through.
    """
    slope = np.sign(np.diff(values))
    moving = np.flatnonzero(slope)
    bends = moving[:-1][slope[moving[1:]] != slope[moving[:-1]]] + 1
    places = np.concatenate([[0], bends, [len(values) - 1]]).astype(np.int64)
    heights = values[places].tolist()
    turns: list[int] = []
    direction, best, low, high = 0, 0, 0, 0
    for i, v in enumerate(heights):
        if direction == 0:
            low, high = (i if v < heights[low] else low), (i if v > heights[high] else high)
            direction = int(v - heights[low] >= hysteresis) - int(heights[high] - v >= hysteresis)
            first = low if direction > 0 else high
            turns, best = ([first] if direction and first else []), i
        elif direction * (v - heights[best]) > 0:
            best = i
        elif direction * (heights[best] - v) >= hysteresis:
            turns.append(best)
            direction, best = -direction, i
    return places[turns]


def group_turns(turns: NDArray[np.int64], longest_steps: float) -> list[tuple[int, int]]:
    """Slices [first, last) of at least 4 turning points, each within `longest_steps` of the one before."""
    if len(turns) < MIN_TURNS:
        return []
    start, stop = runs_of(np.diff(turns) <= longest_steps + 1e-6)
    return [(int(a), int(b) + 1) for a, b in zip(start, stop, strict=True) if b - a + 1 >= MIN_TURNS]


def owner_of(offset: Floats, candidate: Floats, reference: Floats, fps: float, hysteresis: float) -> Owner:
    """Whose swing it is, from power within 0.3 to 3 Hz.

    With independent motion the offset's power is what the candidate has more than the reference, or less. The excess
    (P_candidate - P_reference) / P_offset is 1 where only the candidate swings, -1 where only the reference does, 0
    where both do; motion that both share, a weaving car without ego data, cancels. Beyond one half the owner is clear.
    Between, it is the candidate's too where its own part alone swings by the hysteresis or more: two engines that swing
    against each other excuse nobody.

    Args:
        offset: candidate minus reference over the swing, [n].
        candidate: its own series, ego-compensated where the case knows the ego motion, [n].
        reference: as `candidate`.
        fps: steps per second.
        hysteresis: least width of a swing.
    """
    if not (np.isfinite(candidate).all() and np.isfinite(reference).all()):
        return "both"
    power = band_power(offset, fps, OWN_BAND_HZ)
    own, other = (band_power(x, fps, OWN_BAND_HZ) for x in (candidate, reference))
    if power <= 0:
        return "both"
    if own - other > _CLEAR_SHARE * power:
        return "candidate"
    if own - other < -_CLEAR_SHARE * power:
        return "reference"
    part = min(max(power + own - other, 0.0) / 2, own)  # of the offset's power; of its own no more than it has
    return "candidate" if np.sqrt(8 * part) >= hysteresis else "both"  # a sine's width is sqrt(8) of its RMS
