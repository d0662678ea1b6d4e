"""What swing finds and what it does not: power by frequency, width and frame rate, and false alarms on white noise.

    python -m benchmarks.swing_power [--windows 300] [--noise-minutes 300] [--sigma 0.02]

Windows last 10 s and hold a sine of random phase in white noise; docs/metrics-time.md has the table.
"""

from __future__ import annotations

import argparse
import time

import numpy as np

from harness.measures.swing import find_swings

HYSTERESIS_M = 0.20
RATES = (10, 15, 20, 25, 30)
FREQUENCIES_HZ = (0.3, 0.4, 0.6, 1.0, 1.5, 2.0)
WIDTHS_M = (0.25, 0.5)
WINDOW_S = 10
QUIET_SIGMA_M = 0.04


def power(width_m: float, hz: float, fps: int, windows: int, sigma_m: float, seed: int = 0) -> float:
    """Share of windows in which a swing is found."""
    rng = np.random.default_rng([seed, fps, round(100 * hz), round(100 * width_m)])
    t = np.arange(WINDOW_S * fps) / fps
    found = 0
    for _ in range(windows):
        offset = width_m / 2 * np.sin(2 * np.pi * (hz * t + rng.random())) + rng.normal(scale=sigma_m, size=len(t))
        answer = find_swings(offset, fps, HYSTERESIS_M)
        found += bool(answer and answer[0])
    return found / windows


def false_alarms(fps: int, minutes: int, seed: int = 0) -> int:
    """Swings found in white noise of 0.04 m."""
    rng = np.random.default_rng([seed, fps])
    events = 0
    for _ in range(minutes):
        answer = find_swings(rng.normal(scale=QUIET_SIGMA_M, size=60 * fps), fps, HYSTERESIS_M)
        events += len(answer[0]) if answer else 0
    return events


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--windows", type=int, default=300)
    parser.add_argument("--noise-minutes", type=int, default=300)
    parser.add_argument("--sigma", type=float, default=0.02, help="white noise in the windows, metres")
    options, _ = parser.parse_known_args()
    print(f"share of {options.windows} windows of {WINDOW_S} s with a swing; noise {options.sigma} m")
    print("width  rate  " + "  ".join(f"{hz:.1f} Hz" for hz in FREQUENCIES_HZ))
    for width_m in WIDTHS_M:
        for fps in RATES:
            shares = [power(width_m, hz, fps, options.windows, options.sigma) for hz in FREQUENCIES_HZ]
            print(f"{width_m:.2f} m  {fps:2d}   " + "  ".join(f"{share:6.1%}" for share in shares))
    for fps in RATES:
        began = time.process_time()
        events = false_alarms(fps, options.noise_minutes)
        spent = time.process_time() - began
        print(f"{options.noise_minutes} min of {QUIET_SIGMA_M} m noise at {fps} Hz: {events} events, {spent:.1f} s")


if __name__ == "__main__":
    main()
