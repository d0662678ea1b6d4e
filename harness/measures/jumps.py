"""Jumps of a line: glitches, which last a frame or two, and steps, which stay.

A slot that is renamed in a lane change jumps by a lane in both engines, in one perhaps a frame later than in the other:
that is neither. `without_renames` takes such jumps out of a line's series before anything is measured on them.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from harness.measures.blocks import StationBlock, Stretch
from harness.measures.own import owner_of_change
from harness.measures.series import fill_short_gaps
from harness.measures.windows import running_median, runs_of

__all__ = ["glitch_of", "step_of", "without_glitches", "without_renames"]

Floats = NDArray[np.float64]

MEDIAN_S = 0.5
LONGEST_GLITCH = 2  # frames
RENAMED_WITHIN_S = 0.2
_BRIDGED_S = 0.2
_OUTLIER = 4.0  # robust sigmas
_SHARP = 0.6  # of a step happens within two frames
_SAME = 0.25  # of a rename's size: how far the two engines' jumps may differ


def glitch_of(block: StationBlock) -> list[Stretch] | None:
    """Places where one or two frames are off the median of the half second around them, each with its distance.

    Those over the finding threshold, or the largest one. What three frames in a row share is no glitch.
    """
    width = _median_width(block.fps)
    if width is None or np.isfinite(block.offset).sum() < width:
        return None
    away = block.with_own() - running_median(_bridged(block.with_own(), block.fps), width)
    lone = _lone(away[0])
    return [_stretch(block, "glitch", a, b, lone[at], away[1][at], away[2][at]) for a, b, at in _peaks(block, lone)]


def step_of(block: StationBlock) -> list[Stretch] | None:
    """Places where a line moves within two frames and stays: in the half second after it and in the next one.

    How far: from the median of the half second before to that of the nearer half second after. Those over the finding
    threshold, or the largest one. Whose it is, is told by what each line does within the two frames: in a second the
    vehicle moves too.
    """
    width = _median_width(block.fps)
    if width is None:
        return None
    values = _bridged(block.with_own(), block.fps)
    change, *own = _lasting(values, width)
    own = [np.minimum(np.abs(x), np.abs(_within_two_frames(v))) for x, v in zip(own, values[1:], strict=True)]
    if not np.isfinite(change).any():
        return None
    sharp = _within_two_frames(values[0]) * np.sign(change) >= _SHARP * np.abs(change)
    size = np.where(sharp, np.abs(change), 0.0)
    peaks = _peaks(block, size, "step", apart=width // 2)
    return [_stretch(block, "step", at - 1, at, size[at], own[0][at], own[1][at]) for _, _, at in peaks]


def without_renames(
    offset: Floats, candidate: Floats, reference: Floats, fps: float, gate: float
) -> tuple[Floats, Floats, Floats]:
    """The three series of a line without the jumps of a slot that both engines rename.

    Where the reference jumps by more than the matching gate between two frames and the candidate by as much within
    0.2 s, the jump is taken out of both own series, and the offset is missing in the frames in between.

    Args:
        offset, candidate, reference: [n] each, NaN where missing.
        fps: steps per second.
        gate: largest lateral distance at which lines are matched.
    """
    longest = int(RENAMED_WITHIN_S * fps + 1e-6) if fps > 0 else 0
    jumps = list(_jumps(reference, gate, longest))
    if not jumps:
        return offset, candidate, reference
    offset, candidate, reference = offset.copy(), candidate.copy(), reference.copy()
    others = list(_jumps(candidate, gate, longest))
    for at, size in jumps:
        twin = next((k for k, s in others if abs(k - at) <= longest + 1 and abs(s - size) <= _SAME * abs(size)), None)
        if twin is not None:
            reference[at:] -= size
            candidate[twin:] -= size
            first, last = sorted((at, twin))
            offset[first:last] = candidate[first:last] = np.nan
    return offset, candidate, reference


def without_glitches(values: Floats, fps: float) -> Floats:
    """Series [..., n] in which frames that stand out by more than four robust sigmas have the median around them."""
    middle = running_median(values, _median_width(fps) or 5)
    away = values - middle
    spread = running_median(np.abs(away), 4 * (_median_width(fps) or 5) + 1)
    out = _lone(away) > _OUTLIER * 1.4826 * spread
    return np.where(out, middle, values)


def _jumps(values: Floats, gate: float, longest: int) -> Iterator[tuple[int, float]]:
    """(first value after it, size) of every jump beyond the gate from one value to the next known one."""
    known = np.flatnonzero(np.isfinite(values))
    change = np.diff(values[known])
    for k in np.flatnonzero((np.abs(change) > gate) & (np.diff(known) <= longest + 1)):
        yield int(known[k + 1]), float(change[k])


def _median_width(fps: float) -> int | None:
    """Frames of half a second, odd, 5 at least; None where the rate is not known."""
    return max(5, 2 * int(MEDIAN_S * fps / 2) + 1) if fps > 0 else None


def _bridged(values: Floats, fps: float) -> Floats:
    """Several series [series, n] without short gaps."""
    longest = int(_BRIDGED_S * fps + 1e-6)
    return np.stack([fill_short_gaps(x, longest) for x in values])


def _lone(values: Floats) -> Floats:
    """How far each value stands out, up or down, from the level that three neighbours share, [..., n]; 0: missing."""
    both = np.nan_to_num(np.stack([values, -values]))
    ends = both[..., :1], both[..., -1:]
    padded = np.concatenate([ends[0], ends[0], both, ends[1], ends[1]], axis=-1)
    three = np.minimum(np.minimum(padded[..., :-2], padded[..., 1:-1]), padded[..., 2:])
    shared = np.maximum(np.maximum(three[..., :-2], three[..., 1:-1]), three[..., 2:])
    out = np.maximum(both, 0) - np.maximum(shared, 0)
    return np.where(np.isfinite(values), np.maximum(out[0], out[1]), 0.0)


def _peaks(block: StationBlock, sizes: Floats, kind: str = "glitch", apart: int = 0) -> Iterator[tuple[int, int, int]]:
    """(first, last, largest) of the runs over the finding threshold, or of the largest value where none is over it.

    Runs within `apart` values of the one before are left out.
    """
    over = sizes > block.threshold(kind)
    if not over.any() and sizes.max() > 0:
        over = np.arange(len(sizes)) == sizes.argmax()
    last = -len(sizes)
    for a, b in zip(*runs_of(over), strict=True):
        at = int(a) + int(sizes[a:b].argmax())
        if at - last > apart:
            yield int(a), int(b) - 1, at
            last = at


def _lasting(values: Floats, width: int) -> Floats:
    """How far the medians of both half seconds from each value on are off that of the half second before, signed.

    Of series [..., n]. The smaller one; 0 where they are on two sides, NaN near a gap or an end.
    """
    half, count, change = width // 2, values.shape[-1], np.full(values.shape, np.nan)
    if count < 3 * width:
        return change
    middle = running_median(values, width)
    middle[_beside_a_gap(values, half)] = np.nan
    at = np.arange(half + 1, count - half - width)
    soon, late = (middle[..., at + half + k] - middle[..., at - half - 1] for k in (0, width))
    smaller = np.sign(soon) * np.minimum(np.abs(soon), np.abs(late))
    change[..., at] = np.where(soon * late > 0, smaller, np.where(np.isfinite(soon * late), 0.0, np.nan))
    return change


def _beside_a_gap(values: Floats, half: int) -> NDArray[np.bool_]:
    """Values with a missing one, or an end, within `half` of them, [..., n]."""
    ends = np.ones((*values.shape[:-1], half + 1))
    total = np.cumsum(np.concatenate([ends, ~np.isfinite(values), ends[..., 1:]], axis=-1), axis=-1)
    return np.asarray(total[..., 2 * half + 1 :] > total[..., : -2 * half - 1])


def _within_two_frames(values: Floats) -> Floats:
    """How far each value and the next have come from the value before, whichever is further along, [n]."""
    one, two = np.full(len(values), np.nan), np.full(len(values), np.nan)
    one[1:] = np.diff(values)
    two[1:-1] = values[2:] - values[:-2]
    return np.where(np.abs(two) > np.abs(one), two, one)


def _stretch(
    block: StationBlock, kind: str, start: int, stop: int, size: float, candidate: float, reference: float
) -> Stretch:
    owner = owner_of_change(candidate, reference, block.threshold(kind))
    return Stretch(start, stop, float(size), owner)
