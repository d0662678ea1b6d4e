"""Whose a bow of a moment is: how often it is told right, and what honest noise of both engines loses.

    python -m benchmarks.frame_owner_power [--drives N]

One of two engines bows a line for some frames; both have noise that is correlated over 0.4 s and heavy-tailed, the car
wanders by 0.3 m below 0.3 Hz and its camera pitches by 0.1 degrees. Told: the share of bowed frames in which the
candidate's part of `bend` in the bowed band (of `offset_max` for a line that stands aside) is under half of the
difference where the reference is bowed, and is all of it where the candidate is.
"""

from __future__ import annotations

import argparse

import numpy as np

from benchmarks.road_drive import X_M, drive_on, network_noise, pitched
from harness.measures.band import band_metrics
from harness.measures.frame_owner import TrackedPairs, candidates_part, is_large
from harness.model.grid import vehicle_grid

FPS, SECONDS = 20.0, 12.0
GRID = vehicle_grid()
SHAPES = {
    "bow of 0.5 m, 0 to 20 m": (0, "bend", 0.5 * np.clip(1 - ((X_M - 10) / 10) ** 2, 0, None)),
    "bow of 1 m, 40 to 80 m": (2, "bend", np.clip(1 - ((X_M - 60) / 20) ** 2, 0, None)),
    "0.4 m aside": (0, "offset_max", np.full(len(X_M), 0.4)),
}
NOISES = {"1 cm near, 2 cm at 40 m": (0.01, 0.02), "4 cm near, 12 cm at 40 m": (0.04, 0.12)}


def _pairs(reference: np.ndarray, candidate: np.ndarray) -> tuple[TrackedPairs, dict[str, np.ndarray]]:
    """The lines of every frame, [frames, lines, points] each."""
    frames, lines = reference.shape[:2]
    flat = [x.reshape(-1, len(X_M)) for x in (reference, candidate)]
    at = np.array([[np.interp(GRID.stations.ravel(), X_M, y) for y in each] for each in flat])
    bands = band_metrics((at[1] - at[0]).reshape(-1, *GRID.stations.shape), GRID)
    time_ns = np.repeat(np.round(np.arange(frames) * 1e9 / FPS).astype(np.int64), lines)
    lab, car = at.astype(np.float32)
    track = np.tile(np.arange(lines, dtype=np.int32), frames)
    return TrackedPairs(time_ns, track, lab, car, np.full_like(lab, np.nan), is_large(bands, GRID)), bands


def told(rng: np.random.Generator, shape: str, frames: int, noise: tuple[float, float]) -> tuple[float, float, float]:
    """(share told as the reference's, share told as the candidate's, share of honest frames that lose a tenth)."""
    band, measure, bow = SHAPES[shape]
    drive = drive_on(rng, SECONDS, fps=FPS, wander_m=0.3)
    road = pitched(rng, drive.lines, FPS, 0.1)
    lab, car = (road + network_noise(rng, road.shape[:2], FPS, *noise) for _ in range(2))
    first = int(rng.integers(5, len(road) - frames - 5))
    bowed = slice(first, first + frames)
    rows = np.arange(len(road) * road.shape[1])
    of_line = np.arange(first, first + frames) * road.shape[1] + 1
    found = []
    for mine, theirs in ((0, 1), (1, 0)):
        before, after = lab.copy(), car.copy()
        before[bowed, 1] += theirs * bow
        after[bowed, 1] += mine * bow
        pairs, bands = _pairs(before, after)
        own = candidates_part(pairs, rows, bands, GRID)[measure][of_line, band]
        share = np.abs(own) / np.abs(bands[measure][of_line, band])
        found.append(float(np.mean(share > 0.99) if mine else np.mean(share < 0.5)))
    pairs, bands = _pairs(lab, car)
    own = candidates_part(pairs, rows, bands, GRID)
    less = [np.abs(own[m][:, b]) < 0.9 * np.abs(bands[m][:, b]) for b, m, _ in SHAPES.values()]
    return found[0], found[1], float(np.mean(less))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--drives", type=int, default=25)
    drives = parser.parse_args().drives
    print("| bow | noise of both | lasts | told as the reference's | as the candidate's | honest frames that lose |")
    print("|---|---|---|---|---|---|")
    for shape in SHAPES:
        for name, noise in NOISES.items():
            for frames in (3, 10, 30):
                rows = [told(np.random.default_rng([k, frames]), shape, frames, noise) for k in range(drives)]
                cells = " | ".join(f"{100 * v:.0f} %" for v in np.mean(rows, axis=0))
                print(f"| {shape} | {name} | {frames / FPS:g} s | {cells} |", flush=True)


if __name__ == "__main__":
    main()
