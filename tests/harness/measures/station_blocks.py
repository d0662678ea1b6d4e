"""Blocks of one line at one station for tests of measures over time, and the noise that real networks show."""

from __future__ import annotations

import numpy as np

from harness.measures.blocks import StationBlock, Stretch
from harness.model.grid import vehicle_grid

GRID = vehicle_grid()


def block_of(candidate, reference=None, fps=20.0, station=0, owned=True, ego=None, curvature=None) -> StationBlock:
    """Own positions of both, [n]; the candidate is missing where it is NaN."""
    candidate = np.asarray(candidate, float)
    reference = np.zeros(len(candidate)) if reference is None else np.asarray(reference, float)
    ego = np.zeros(len(candidate)) if ego is None else ego
    curvature = np.zeros(len(candidate)) if curvature is None else curvature
    offset = candidate - reference
    return StationBlock(offset, candidate, reference, offset, curvature, ego, fps, station, GRID, owned)


def owned_by(found: list[Stretch] | None, owner: str = "candidate") -> float:
    """The largest value of an owner, 0 without one."""
    assert found is not None
    return max((s.value for s in found if s.owner == owner), default=0.0)


def clock(seconds, fps=20.0):
    return np.arange(round(seconds * fps)) / fps


def noise(rng, count, sigma, tau_s=0.3, fps=20.0, dof=3.0) -> np.ndarray:
    """First-order autoregressive noise with Student-t innovations, [count]; RMS sigma, correlated over tau_s."""
    rho = np.exp(-1 / (tau_s * fps)) if tau_s > 0 else 0.0
    values = rng.standard_t(dof, count + 200) / np.sqrt(dof / (dof - 2)) * np.sqrt(1 - rho**2)
    for k in range(1, len(values)):
        values[k] += rho * values[k - 1]
    return sigma * values[200:]
