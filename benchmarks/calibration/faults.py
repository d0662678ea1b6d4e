"""Faults of known size, planted into every case of a version."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

__all__ = ["KINDS", "SIZES", "UNITS", "Fault", "Kind"]

Floats = NDArray[np.float64]
Random = np.random.Generator
Kind = Literal["bend near", "bend far", "swing 1 Hz", "swing 0.2 Hz", "offset", "far offset", "drift", "frozen"]

SIZES: dict[Kind, tuple[float, ...]] = {
    "bend near": (0.1, 0.15, 0.2, 0.3, 0.4),  # m, of the left ego line between 5 and 20 m, for a second
    "bend far": (0.2, 0.3, 0.4, 0.6, 0.8),  # m, between 40 and 80 m, for a second
    "swing 1 Hz": (0.1, 0.2, 0.3, 0.4, 0.5),  # m peak to peak, all lines, for 3 s
    "swing 0.2 Hz": (0.2, 0.3, 0.4, 0.5, 0.7),  # m peak to peak, all lines, all the time
    "offset": (0.03, 0.05, 0.075, 0.1, 0.15),  # m, all lines, all the time
    "far offset": (0.1, 0.2, 0.3, 0.5, 0.8),  # m at 80 m, growing from nothing at 20 m
    "drift": (0.05, 0.1, 0.15, 0.2, 0.3),  # m to the left at the end, to the right at the beginning, all lines
    "frozen": (0.5, 1.0, 1.5, 2.5),  # s that the last answer is given again
}
KINDS = tuple(SIZES)
UNITS = {kind: "s" if kind == "frozen" else "m" for kind in KINDS}
_EGO_LEFT = 1


@dataclass(frozen=True)
class Fault:
    """A kind and its size in metres or seconds."""

    kind: Kind
    size: float

    def offset_m(self, rng: Random, shape: tuple[int, ...], fps: float, x_m: Floats) -> Floats:
        """What it adds to the candidate, [cases, frames, 4, points]; either sign, at random times and phases."""
        cases, frames = shape[:2]
        t = np.arange(frames) / fps
        size = self.size * rng.choice([-1.0, 1.0], (cases, 1, 1, 1))
        if self.kind.startswith("bend"):
            first, last = (5, 20) if self.kind == "bend near" else (40, 80)
            bow = np.sin(np.pi * np.clip((x_m - first) / (last - first), 0, 1))
            line = np.zeros((1, 1, 4, 1))
            line[..., _EGO_LEFT, :] = 1
            return np.asarray(size * self._while(rng, cases, t, 1.0) * line * bow)
        time, along = np.ones((1, frames, 1, 1)), np.ones(len(x_m))
        if self.kind.startswith("swing"):
            hz = 1.0 if self.kind == "swing 1 Hz" else 0.2
            phase = rng.random((cases, 1))
            time = 0.5 * np.sin(2 * np.pi * (hz * t + phase))[:, :, None, None]
            time = time * (self._while(rng, cases, t, 3.0) if hz == 1.0 else 1.0)
        elif self.kind == "far offset":
            along = np.clip((x_m - 20) / 60, 0, None)
        elif self.kind == "drift":
            time = np.linspace(-1, 1, frames)[None, :, None, None]
        elif self.kind == "frozen":
            time = 0 * time
        return np.asarray(np.broadcast_to(size * time * along, shape))

    def seen_frame(self, rng: Random, cases: int, frames: int, fps: float) -> NDArray[np.int64]:
        """The frame whose answer a frozen candidate gives in every frame, [cases, frames]."""
        count, every = round(self.size * fps), np.arange(frames)
        first = rng.integers(1, frames - count + 1, cases)[:, None]
        return np.where((every >= first) & (every < first + count), first - 1, every)

    @staticmethod
    def _while(rng: Random, cases: int, t: Floats, seconds: float) -> Floats:
        """1 for so long at a random time, else 0, [cases, frames, 1, 1]."""
        start = rng.uniform(0, max(t[-1] - seconds, 0), (cases, 1))
        return ((t >= start) & (t < start + seconds)).astype(np.float64)[:, :, None, None]
