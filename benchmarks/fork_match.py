"""What share of the whole line a match should weigh: lines that fork ahead told apart, a line that bends away kept.

    python -m benchmarks.fork_match [--frames 2000]

The noise of a line is a shift, a turn and a bow, each correlated over half a second and heavy-tailed (Student's t with
3 degrees of freedom), and grows with distance. docs/metrics.md quotes the table.
"""

from __future__ import annotations

import argparse

import numpy as np
from numpy.typing import NDArray

from harness.measures.assignment import assign, contested, near_distance, whole_distance
from harness.model.grid import vehicle_grid

GRID = vehicle_grid()
X_M = GRID.stations.ravel()
GATE_M = GRID.thresholds.match_gate
SHARES = (0.0, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
SIGMAS_M = (0.02, 0.06, 0.15)
FPS, TAU_S = 20, 0.5
FRAMES_PER_FORK = 50

Floats = NDArray[np.float64]


def noise(rng: np.random.Generator, frames: int, lines: int, sigma_m: float) -> Floats:
    """Lateral noise [frames, lines, stations]; sigma at 20 m, three times as much at 80 m."""
    keep = np.exp(-1 / FPS / TAU_S)
    drive = rng.standard_t(3, (frames, lines, 3)) / np.sqrt(3) * np.sqrt(1 - keep**2)
    for t in range(1, frames):
        drive[t] += keep * drive[t - 1]
    shapes = np.stack([np.ones_like(X_M), X_M / 30, (X_M / 40) ** 2])
    scale = np.sqrt(np.mean([(s[np.abs(X_M - 20).argmin()]) ** 2 for s in shapes]) * 3)
    return sigma_m / scale * drive @ shapes


def fork(rng: np.random.Generator, frames: int) -> Floats:
    """Two lanes and exits that leave the right one at 30 to 60 m, more or less steeply, [frames, 3, stations]."""
    place_m = 30 + 30 * np.abs(np.linspace(-1, 1, frames))
    slope = np.repeat(rng.uniform(0.03, 0.15, -(-frames // FRAMES_PER_FORK)), FRAMES_PER_FORK)[:frames]
    exit_m = -1.8 - slope[:, None] * np.maximum(X_M - place_m[:, None], 0)
    lanes = np.broadcast_to(np.array([1.8, -1.8])[:, None], (frames, 2, len(X_M)))
    return np.concatenate([lanes, exit_m[:, None]], axis=1)


def chosen_pairs(before: Floats, after: Floats, share: float) -> NDArray[np.int64]:
    """Partner of each line of one frame, -1 where it has none."""
    count = len(before)
    row, column = np.repeat(np.arange(count), count), np.tile(np.arange(count), count)
    near = near_distance(before, after, row, column)
    row, column, cost = row[near <= GATE_M], column[near <= GATE_M], near[near <= GATE_M]
    unsure = contested(row, column)
    cost[unsure] += share * whole_distance(before, after, row[unsure], column[unsure], GATE_M)
    partner = np.full(count, -1)
    picked = assign(row, column, cost, (1 + share) * GATE_M)
    partner[row[picked]] = column[picked]
    return partner


def wrong(before: Floats, after: Floats, share: float) -> float:
    """Share of frames in which some line has another partner than its own, or none."""
    own = np.arange(before.shape[1])
    return float(np.mean([(chosen_pairs(b, a, share) != own).any() for b, a in zip(before, after, strict=True)]))


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=2000)
    frames = parser.parse_known_args()[0].frames
    print("frames in which a line of a fork has a wrong partner or none, by share of the whole line")
    print("candidate                     noise  " + "  ".join(f"{share:6.2f}" for share in SHARES))
    for name, bow_m in (("the same", 0.0), ("a lane bows 1 m at 80 m", 1.0), ("a lane bows 6 m at 80 m", 6.0)):
        for sigma_m in SIGMAS_M:
            rng = np.random.default_rng([round(1000 * sigma_m), round(bow_m)])
            before = fork(rng, frames)
            after = before + noise(rng, frames, 3, sigma_m)
            after[:, 1] += bow_m * np.clip((X_M - 30) / 50, 0, 1) ** 2
            found = [wrong(before, after, share) for share in SHARES]
            print(f"{name:28s} {sigma_m:.2f} m  " + "  ".join(f"{100 * w:5.1f}%" for w in found))


if __name__ == "__main__":
    main()
