"""Noise over time as networks have it: correlated, with heavy tails; of variance 1.

Limits may be chosen by CALIBRATION only. HELD_OUT differs in kind, not in parameters: no limit was ever chosen by it.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.signal import lfilter

__all__ = ["CALIBRATION", "FAMILIES", "HELD_OUT", "Floats", "heavy"]

Floats = NDArray[np.float64]
Random = np.random.Generator
Family = Callable[[Random, tuple[int, ...], float], Floats]


def heavy(rng: Random, dof: float, size: tuple[int, ...]) -> Floats:
    """Student's t of variance 1."""
    return np.asarray(rng.standard_t(dof, size) / np.sqrt(dof / (dof - 2)))


def correlated(drawn: Floats, tau_s: float, fps: float) -> Floats:
    """First-order autoregression along the last axis, in its steady state from the first value on."""
    rho = np.exp(-1 / (tau_s * fps))
    pushes = np.sqrt(1 - rho**2) * drawn
    pushes[..., 0] = drawn[..., 0]
    return np.asarray(lfilter([1.0], [1.0, -rho], pushes, axis=-1))


def _normal(rng: Random, size: tuple[int, ...], fps: float) -> Floats:
    return correlated(rng.standard_normal(size), 0.3, fps)


def _heavy(rng: Random, size: tuple[int, ...], fps: float) -> Floats:
    return correlated(heavy(rng, 3.0, size), 0.3, fps)


def _measured(rng: Random, size: tuple[int, ...], fps: float) -> Floats:
    """Autocorrelation as that of the demo's robust candidate: 0.26 after 0.1 s, 0.15 after 0.3 s, 0.05 after 1 s."""
    slow = correlated(heavy(rng, 4.0, size), 0.5, fps)
    return np.sqrt(0.35) * slow + np.sqrt(0.65) * heavy(rng, 4.0, size)


def _pink(rng: Random, size: tuple[int, ...], fps: float) -> Floats:
    """About 1/f from 0.06 to 1.6 Hz; innovations Laplace."""
    parts = [correlated(rng.laplace(0, 1 / np.sqrt(2), size), tau_s, fps) for tau_s in (0.1, 0.5, 2.5)]
    return np.sum(parts, axis=0) / np.sqrt(3)


def _bursts(rng: Random, size: tuple[int, ...], fps: float) -> Floats:
    """Quiet and restless seconds: the width itself varies, log-normal, over 2 s."""
    width = np.exp(0.6 * correlated(rng.standard_normal(size), 2.0, fps) - 0.36)
    return width * correlated(heavy(rng, 5.0, size), 0.2, fps)


def _levels(rng: Random, size: tuple[int, ...], fps: float) -> Floats:
    """A line that clicks: every two seconds in the mean to another level, half of the variance; the rest wanders."""
    clicks = rng.random(size) < 0.5 / fps
    level = heavy(rng, 5.0, size)
    clicks[..., 0] = True
    at = np.maximum.accumulate(np.where(clicks, np.arange(size[-1]), 0), axis=-1)
    return np.sqrt(0.5) * (np.take_along_axis(level, at, axis=-1) + correlated(heavy(rng, 5.0, size), 0.3, fps))


CALIBRATION: dict[str, Family] = {
    "0.3 s, normal": _normal,
    "0.3 s, t of 3 degrees": _heavy,
    "0.5 s and white, t of 4 degrees": _measured,
}
HELD_OUT: dict[str, Family] = {
    "1/f, Laplace": _pink,
    "bursts, t of 5 degrees": _bursts,
    "levels, t of 5 degrees": _levels,
}
FAMILIES = CALIBRATION | HELD_OUT
