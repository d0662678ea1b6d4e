"""What jitter, tremble, glitch and step find, and what noise makes of them.

    python -m benchmarks.time_power [--clips 40]

Noise is white or correlated (first-order autoregressive), normal or Student's t with 3 degrees of freedom, half a
minute at 10, 20 and 30 frames a second. A burst of white noise lasts a second of a minute of noise of 1 cm.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from harness.measures.blocks import StationBlock, Stretch
from harness.measures.jitter import jitter_of
from harness.measures.jumps import glitch_of, step_of
from harness.measures.tremble import tremble_of
from harness.model.grid import vehicle_grid

__all__ = ["block_of", "main", "noise", "owned"]

Floats = NDArray[np.float64]

GRID = vehicle_grid()
RATES = (10, 20, 30)
KINDS = {"jitter": jitter_of, "tremble": tremble_of, "glitch": glitch_of, "step": step_of}
FAMILIES = (("white", 0.0, 0.0), ("white, t", 0.0, 3.0), ("0.2 s, t", 0.2, 3.0), ("0.5 s, t", 0.5, 3.0))
SIGMAS_M = (0.02, 0.03, 0.04, 0.06)
BURSTS_M = (0.1, 0.15, 0.2, 0.3)


def noise(rng: np.random.Generator, count: int, sigma: float, tau_s: float, fps: float, dof: float = 0.0) -> Floats:
    """Autoregressive noise of RMS sigma, correlated over tau_s, [count]; its innovations Student's t, normal for 0."""
    from scipy.signal import lfilter

    lead = round(10 * tau_s * fps)
    rho = np.exp(-1 / (tau_s * fps)) if tau_s > 0 else 0.0
    drawn = rng.standard_t(dof, count + lead) / np.sqrt(dof / (dof - 2)) if dof else rng.normal(size=count + lead)
    return np.asarray(sigma * lfilter([np.sqrt(1 - rho**2)], [1, -rho], drawn)[lead:], np.float64)


def block_of(candidate: Floats, reference: Floats, fps: float, station: int = 0) -> StationBlock:
    """Own positions as a measure over time gets them, [frames]."""
    still = np.zeros(len(candidate))
    offset = candidate - reference
    return StationBlock(offset, candidate, reference, offset, still, still, fps, station, GRID)


def owned(found: Sequence[Stretch] | None) -> float:
    """The largest value that the candidate owns."""
    return max((s.value for s in found or () if s.owner == "candidate"), default=0.0)


def noisy(kind: str, sigma: float, tau_s: float, dof: float, fps: int, clips: int) -> Floats:
    """What a kind reads of noise in half a minute, [clips]."""
    rng = np.random.default_rng([fps, round(1000 * sigma), round(10 * tau_s), round(dof)])
    still = np.zeros(30 * fps)
    clip = (block_of(noise(rng, 30 * fps, sigma, tau_s, fps, dof), still, fps) for _ in range(clips))
    return np.array([owned(KINDS[kind](block)) for block in clip])


def burst(sigma: float, fps: int, clips: int) -> float:
    """Share of minutes with a second of white noise of which the jitter is a finding."""
    rng = np.random.default_rng([fps, round(1000 * sigma)])
    found = 0
    for _ in range(clips):
        values = noise(rng, 60 * fps, 0.01, 0.3, fps, 3.0)
        start = rng.integers(0, 59 * fps)
        values[start : start + fps] += rng.normal(scale=sigma, size=fps)
        block = block_of(values, np.zeros(len(values)), fps)
        found += owned(jitter_of(block)) > block.threshold("jitter")
    return found / clips


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, default=40)
    options, _ = parser.parse_known_args()
    print("what noise reads in half a minute, median and 95th percentile over all frame rates, metres")
    for kind in KINDS:
        for name, tau_s, dof in FAMILIES:
            cells = []
            for sigma in SIGMAS_M:
                values = np.concatenate([noisy(kind, sigma, tau_s, dof, fps, options.clips) for fps in RATES])
                cells.append("{:.3f} {:.3f}".format(*np.quantile(values, [0.5, 0.95])))
            print(f"{kind:8s} {name:9s} " + "   ".join(f"{s:.2f}: {c}" for s, c in zip(SIGMAS_M, cells, strict=True)))
    print("share of bursts of a second found by jitter")
    for fps in RATES:
        print(f"{fps} frames/s  " + "  ".join(f"{s:.2f} m {burst(s, fps, options.clips):5.0%}" for s in BURSTS_M))


if __name__ == "__main__":
    main()
