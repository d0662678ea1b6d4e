"""What swing finds and what it does not: power by frequency, width and noise, and false episodes an hour.

    python -m benchmarks.swing_power [--windows 100] [--minutes 60]

Windows last 10 s and hold a sine of random phase, or a burst of 3 s of one, in noise as real networks have it:
correlated over 0.3 s, Student's t with 3 degrees of freedom. docs/metrics-time.md has the tables.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import numpy as np

from benchmarks.time_power import RATES, noise
from harness.measures.swing import find_swings
from harness.model.grid import vehicle_grid

HYSTERESIS_M = vehicle_grid().thresholds.swing[0]
FREQUENCIES_HZ = (0.3, 0.4, 0.6, 1.0, 1.5, 2.0)
WIDTHS_M = (0.25, 0.3, 0.4, 0.5)
SIGMAS_M = (0.01, 0.02, 0.03, 0.04, 0.06)
CORRELATED_S = (0.0, 0.1, 0.2, 0.3, 0.5)
WINDOW_S, BURST_S = 10, 3
TAU_S, DOF = 0.3, 3.0


def power(
    width_m: float, hz: float, fps: int, windows: int, sigma_m: float, seconds: float = WINDOW_S, seed: int = 0
) -> float:
    """Share of windows in which a swing of so many seconds is found."""
    rng = np.random.default_rng([seed, fps, round(100 * hz), round(100 * width_m)])
    t = np.arange(WINDOW_S * fps) / fps
    found = 0
    for _ in range(windows):
        sine = width_m / 2 * np.sin(2 * np.pi * (hz * t + rng.random()))
        start = rng.uniform(0, WINDOW_S - seconds)
        offset = np.where((t >= start) & (t <= start + seconds), sine, 0.0)
        answer = find_swings(offset + noise(rng, len(t), sigma_m, TAU_S, fps, DOF), fps, HYSTERESIS_M)
        found += bool(answer and answer[0])
    return found / windows


def false_per_hour(sigma_m: float, tau_s: float, fps: int, minutes: int, seed: int = 0) -> float:
    """Swings found in noise alone."""
    rng = np.random.default_rng([seed, fps, round(10 * tau_s)])
    events = 0
    for _ in range(minutes):
        answer = find_swings(noise(rng, 60 * fps, sigma_m, tau_s, fps, DOF), fps, HYSTERESIS_M)
        events += len(answer[0]) if answer else 0
    return 60 * events / minutes


def _range(values: Sequence[float]) -> str:
    low, high = min(values), max(values)
    return f"{high:4.0%}" if low == high else f"{low:.0%} to {high:.0%}"


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--windows", type=int, default=100)
    parser.add_argument("--minutes", type=int, default=60)
    options, _ = parser.parse_known_args()
    print(f"share of {options.windows} windows of {WINDOW_S} s with a swing, over {RATES} frames/s")
    for width_m in WIDTHS_M:
        for sigma_m in SIGMAS_M:
            cells = []
            for hz in FREQUENCIES_HZ:
                shares = [power(width_m, hz, fps, options.windows, sigma_m) for fps in RATES]
                cells.append(f"{hz} Hz {_range(shares)}")
            burst = [power(width_m, 1.0, fps, options.windows, sigma_m, BURST_S) for fps in RATES]
            print(f"{width_m:.2f} m in {sigma_m:.2f} m  " + "  ".join(cells) + f"  {BURST_S} s of 1 Hz {_range(burst)}")
    print("swings an hour in noise alone, 20 frames/s")
    for tau_s in CORRELATED_S:
        rates = [false_per_hour(sigma_m, tau_s, 20, options.minutes) for sigma_m in SIGMAS_M]
        print(
            f"{tau_s} s  " + "  ".join(f"{sigma_m:.2f} m: {r:4.1f}" for sigma_m, r in zip(SIGMAS_M, rates, strict=True))
        )


if __name__ == "__main__":
    main()
