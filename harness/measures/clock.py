"""When the frames of a case were taken, and how the car moved, on a regular time axis."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from harness.measures.ego import ego_sway
from harness.measures.timeline import TimeAxis, time_axis

__all__ = ["Clock", "between"]

Floats = NDArray[np.float64]


class Clock:
    """Times and ego motion of the frames of one case, or of its latest section; the stores of its rungs share one.

    Attributes:
        fresh: number of the first frame that belongs to no section before this one.
    """

    def __init__(self) -> None:
        self.fresh = np.iinfo(np.int64).min
        self._frames: list[NDArray[np.int64]] = []
        self._times: list[NDArray[np.int64]] = []
        self._ego: list[NDArray[np.float32]] = []

    def tick(
        self,
        frames: ArrayLike,
        timestamps_ns: ArrayLike,
        *,
        speed_mps: ArrayLike = np.nan,
        yaw_rate_radps: ArrayLike = np.nan,
        yaw_rad: ArrayLike = np.nan,
    ) -> None:
        """Tell of every frame of a chunk, also of those without lines; ego values are NaN where unknown."""
        frames = np.atleast_1d(np.asarray(frames, np.int64))
        self._frames.append(frames)
        self._times.append(np.atleast_1d(np.asarray(timestamps_ns, np.int64)))
        ego = [np.broadcast_to(np.asarray(v, np.float32), len(frames)) for v in (speed_mps, yaw_rate_radps, yaw_rad)]
        self._ego.append(np.stack(ego, axis=1))

    def since(self, seconds: float) -> int:
        """Number of the first of the frames of the last seconds; one is told already."""
        times = np.concatenate(self._times)
        return int(np.concatenate(self._frames)[np.searchsorted(times, times[-1] - round(seconds * 1e9))])

    def forget(self, frame: int) -> None:
        """Begin the next section: what is told from now on is fresh; of what was told stays this frame and later."""
        self.fresh = int(self._frames[-1][-1]) + 1
        frames = np.concatenate(self._frames)
        kept = slice(int(np.searchsorted(frames, frame)), None)
        self._frames = [frames[kept].copy()]
        self._times = [np.concatenate(self._times)[kept].copy()]
        self._ego = [np.concatenate(self._ego)[kept].copy()]

    def fresh_step(self) -> int:
        """Step of the time axis from which on frames are fresh."""
        frames, axis = self.axis()
        at = int(np.searchsorted(frames, self.fresh))
        if at < len(frames):
            return math.ceil(float(axis.place[at]) - 1e-6)
        return math.floor(float(axis.place[-1])) + 1 if at else 0

    def axis(self) -> tuple[NDArray[np.int64], TimeAxis]:
        """Frame numbers, int64 [frames], and where they stand in time."""
        frames = np.concatenate(self._frames) if self._frames else np.zeros(0, np.int64)
        return frames, time_axis(np.concatenate(self._times) if self._times else np.zeros(0, np.int64))

    def speed(self) -> Floats:
        """Forward speed on the time axis, m/s, [steps]; NaN where it is unknown."""
        frames, axis = self.axis()
        if len(frames) == 0:
            return np.zeros(0)
        before, after, share = axis.around(axis.steps(0, len(frames) - 1))
        return between(np.concatenate(self._ego), before, after, share)[:, 0].astype(np.float64)

    def ego_motion(self, axis: TimeAxis, look_ahead_m: Sequence[float]) -> Floats | None:
        """Lateral motion of the vehicle on the time axis, [steps, stations]; None where it is unknown."""
        if len(axis.place) < 2 or all(np.isnan(e).all() for e in self._ego):
            return None
        before, after, share = axis.around(axis.steps(0, len(axis.place) - 1))
        dense = between(np.concatenate(self._ego), before, after, share).astype(np.float64)
        return ego_sway(axis.fps, dense[:, 0], dense[:, 1], dense[:, 2], look_ahead_m)


def between(
    values: NDArray[np.float32], before: NDArray[np.int64], after: NDArray[np.int64], share: Floats
) -> NDArray[np.float32]:
    """Values between two frames on the straight line, [steps, columns]; NaN in a hole."""
    found = values[before]
    inside = np.flatnonzero(share != 0)
    if len(inside):
        part = share[inside, None].astype(np.float32)
        found[inside] += part * (values[after[inside]] - found[inside])
    return found
