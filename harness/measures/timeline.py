"""The regular time axis on which a case's series are laid, from the timestamps of its frames.

Clocks shake and drift, frames are dropped, and some recordings change their rate. Each frame has a place on the axis,
in steps of the usual time between two frames: a whole number as long as the rate does not change, so that nothing is
interpolated. Where it does change, places lie between steps, and a series is interpolated between the frames around.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from harness.measures.windows import running_median, runs_of

__all__ = ["TimeAxis", "time_axis"]

Floats = NDArray[np.float64]

_LONG_GAP_S = 1.0  # a longer hole in the recording is kept as one second: every longer gap means the same
_WINDOW = 21  # frames by which a rate is told
_USUAL = 0.1
_CHANGES = 0.05  # of a rate, from where on it has changed
_ON_STEP = 1e-6


@dataclass(frozen=True, slots=True)
class TimeAxis:
    """Where the frames of a case stand in time.

    Attributes:
        place: of each frame, in steps from 0, increasing by a half and more, [frames].
        joined: the next frame follows without a hole, bool [frames]; false for the last.
        fps: steps a second, NaN below two frames.
        whole: every frame stands on a step.
    """

    place: Floats
    joined: NDArray[np.bool_]
    fps: float
    whole: bool = True

    def steps(self, first: int, last: int) -> NDArray[np.int64]:
        """Steps from one frame to another, given by their positions; the nearest one where none lies between them."""
        low, high = int(np.ceil(self.place[first] - _ON_STEP)), int(np.floor(self.place[last] + _ON_STEP))
        return np.arange(low, high + 1) if high >= low else np.array([round(float(self.place[first]))])

    def around(self, steps: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64], Floats]:
        """(frame at or before each step, frame after it, how far between them, 0 to 1) as positions, [steps] each.

        The share is NaN in a hole: a step there has no value.
        """
        count = len(self.place)
        before = np.clip(np.searchsorted(self.place, steps + _ON_STEP, side="right") - 1, 0, count - 1)
        after = np.minimum(before + 1, count - 1)
        gap = self.place[after] - self.place[before]
        share = np.clip((steps - self.place[before]) / np.where(gap > 0, gap, 1.0), 0.0, 1.0)
        share[share < _ON_STEP] = 0.0
        share[(share > 0) & ~self.joined[before]] = np.nan
        return before, after, share


def time_axis(timestamps_ns: ArrayLike) -> TimeAxis:
    """Place each frame.

    A step is the usual difference of timestamps: the mean of those within 10 % of their median. Each frame advances by
    its own difference, rounded to whole steps and at least one, so that jitter and drift of the clock never put two
    frames on one place and a dropped frame leaves a hole. Where the median of 21 differences is 5 % or more off a
    whole number of steps the rate has changed, and frames advance by the rate's own step instead. Holes over a second
    are kept as one second.

    Args:
        timestamps_ns: nanoseconds, increasing, [frames].
    """
    times = np.atleast_1d(np.asarray(timestamps_ns, np.int64))
    if len(times) < 2:
        return TimeAxis(np.zeros(len(times)), np.zeros(len(times), np.bool_), float("nan"))
    difference = np.diff(times).astype(np.float64)
    middle = max(float(np.median(difference)), 1.0)
    near = np.abs(difference / middle - 1) <= _USUAL
    usual = float(difference.mean(where=near)) if near.any() else middle
    step = _steps_of(difference, usual)
    count = np.rint(difference / step)
    np.clip(count, 1, np.ceil(_LONG_GAP_S * 1e9 / step) + 1, out=count)
    joined = np.append(count == 1, False)
    if isinstance(step, np.ndarray):
        count *= step / usual
    return TimeAxis(np.concatenate([[0.0], np.cumsum(count)]), joined, 1e9 / usual, not isinstance(step, np.ndarray))


def _steps_of(difference: Floats, usual: float) -> float | Floats:
    """The time of one step: the usual one; where the rate has changed somewhere, at each difference, [differences]."""
    if len(difference) < 2 * _WINDOW:
        return usual
    blocks = np.median(difference[: len(difference) // _WINDOW * _WINDOW].reshape(-1, _WINDOW), axis=1)
    if not _off(blocks, usual, _CHANGES / 2).any():
        return usual
    step, half = np.full(len(difference), usual), _WINDOW // 2
    local = running_median(np.pad(difference, half, mode="reflect"), _WINDOW)[half:-half]
    for a, b in zip(*runs_of(_off(local, usual, _CHANGES)), strict=True):
        whole = np.maximum(np.rint(difference[a:b] / local[a:b]), 1)
        step[a:b] = difference[a:b].sum() / whole.sum() if b - a <= _WINDOW else _smoothed(difference[a:b], whole)
    return usual if (step == usual).all() else step


def _off(local: Floats, usual: float, share: float) -> NDArray[np.bool_]:
    """Which steps are off a whole number of usual ones, by a share of it."""
    return np.asarray(np.abs(local / (np.maximum(np.rint(local / usual), 1) * usual) - 1) >= share)


def _smoothed(difference: Floats, count: Floats) -> Floats:
    """The time of one step, from the 21 differences around each, [differences]."""
    near = np.ones(_WINDOW)
    padded = (np.pad(x, _WINDOW // 2, mode="reflect") for x in (difference, count))
    total, steps = (np.convolve(x, near, "valid") for x in padded)
    return np.asarray(total / steps)
