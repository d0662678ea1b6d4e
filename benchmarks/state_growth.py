"""What the growth of a recurrent state's divergence looks like for recurrences whose behaviour is known.

    python -m benchmarks.state_growth [--runs 20]

Every recurrence has 64 numbers and is driven at 20 steps/s; the candidate makes an error of 10^-6 or 10^-3 in every
step. docs/metrics-time.md has the table.
"""

from __future__ import annotations

import argparse

import numpy as np
from numpy.typing import NDArray

from harness.measures.growth import DivergenceLog, Growth

RATE_HZ = 20.0
SIZE = 64
KINDS = (
    "contracting 0.5", "contracting 0.9", "contracting 0.99", "scene", "late", "random walk", "drift",
    "expanding 1.02", "expanding 1.1", "chaotic 1.5", "chaotic 2.5",
)  # fmt: skip
STEPS = (60, 300, 1200, 6000)
ERRORS = (1e-6, 1e-3)


def simulate(kind: str, steps: int, error: float, seed: int) -> NDArray[np.float64]:
    """RMS divergence at every step, [steps].

    `contracting A` forgets a share 1 - A of the divergence in each step; `scene` is `contracting 0.9` with errors that
    wax and wane e-fold over 5 s, `late` begins to expand by 1.1 a step after half of the case; `random walk` adds up
    errors without relation, `drift` also errors of one sign; `expanding A` multiplies the divergence by A up to 1;
    `chaotic G` is a random tanh network of gain G.
    """
    rng = np.random.default_rng([seed, KINDS.index(kind), steps])
    name, _, number = kind.rpartition(" ")
    if name == "chaotic":
        return _chaotic(float(number), steps, error, rng)
    keep = {"scene": 0.9, "late": 0.9, "random walk": 1.0, "drift": 1.0}.get(kind) or float(number)
    bias = rng.normal(size=SIZE) if kind == "drift" else np.zeros(SIZE)
    gap, brightness, divergence = np.zeros(SIZE), 0.0, np.empty(steps)
    for step in range(steps):
        brightness = 0.99 * brightness + 0.14 * rng.normal()
        made = error * (rng.normal(size=SIZE) + 0.3 * bias) * (np.exp(brightness) if kind == "scene" else 1.0)
        grows = 1.1 if kind == "late" and step > steps / 2 else keep
        gap = np.clip(grows * gap, -1, 1) + made
        divergence[step] = np.sqrt(np.mean(gap**2))
    return divergence


def _chaotic(gain: float, steps: int, error: float, rng: np.random.Generator) -> NDArray[np.float64]:
    turn, drive = gain * rng.normal(size=(SIZE, SIZE)) / np.sqrt(SIZE), 0.1 * rng.normal(size=(SIZE, 8))
    one, other, picture, divergence = np.zeros(SIZE), np.zeros(SIZE), np.zeros(8), np.empty(steps)
    for step in range(steps):
        picture = 0.95 * picture + 0.31 * rng.normal(size=8)
        one = np.tanh(turn @ one + drive @ picture)
        other = np.tanh(turn @ other + drive @ picture) + error * rng.normal(size=SIZE)
        divergence[step] = np.sqrt(np.mean((other - one) ** 2))
    return divergence


def measure(divergence: NDArray[np.float64]) -> Growth:
    """The growth of one simulated case."""
    log = DivergenceLog()
    log.add(np.arange(1, len(divergence) + 1), divergence)
    return log.growth(RATE_HZ)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=20)
    options, _ = parser.parse_known_args()
    print("growth: 5th to 95th percentile | share of cases with a doubling time, its median")
    for error in ERRORS:
        for steps in STEPS:
            print(f"error {error:g}, {steps} steps ({steps / RATE_HZ:g} s)")
            runs = max(3, min(options.runs, 6000 * options.runs // steps // 5))
            for kind in KINDS:
                found = [measure(simulate(kind, steps, error, seed)) for seed in range(runs)]
                low, high = np.percentile([f.growth for f in found], [5, 95])
                doubling_s = [f.doubling_s for f in found if f.doubling_s == f.doubling_s]
                rate = f"{len(doubling_s) / runs:4.0%}" + (f"  {np.median(doubling_s):.2f} s" if doubling_s else "")
                print(f"  {kind:17} {low:5.2f} to {high:5.2f} | {rate}")


if __name__ == "__main__":
    main()
