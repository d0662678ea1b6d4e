"""What ego-path skill reads of networks that see and of those that do not.

    python -m benchmarks.ego_path [--clips 20]

Drives at 20 m/s on roads that bend (1/400 m RMS) or are straight, the car going from side to side by 0.2 m RMS, motion
from sensors with errors. An honest network is off by 0.04 m near and 0.13 m at 40 m, RMS, correlated over 0.4 s with
Student's t of 3 degrees of freedom, behind a camera that pitches by 0.25 degrees. `constant` draws the median of the
drive's lines for ever, `half asleep` follows 30 % of what moves, `blinking` loses every line a fifth of the time,
`smoothed` is honest, averaged over the last second, `short` ends at 38 m.
"""

from __future__ import annotations

import argparse

import numpy as np
from numpy.typing import NDArray

from benchmarks.road_drive import X_M, Drive, drive_on, moments_of, network_noise, pitched
from harness.lines.table import LineTable
from harness.measures.ego_path import EgoPath, Steps, steps_of
from harness.measures.stations import resample
from harness.measures.tracks import Tracker
from harness.measures.way import Way
from harness.model.grid import vehicle_grid

__all__ = ["NETWORKS", "drawn_by", "main", "skill_of"]

Floats = NDArray[np.float64]

GRID = vehicle_grid()
NETWORKS = ("perfect", "honest", "constant", "half asleep", "blinking", "smoothed", "short")


def drawn_by(network: str, drive: Drive, rng: np.random.Generator) -> Floats:
    """What a network draws, [frames, lines, stations]."""
    constant = np.broadcast_to(np.median(drive.lines, axis=0), drive.lines.shape)
    if network in ("perfect", "constant"):
        return drive.lines if network == "perfect" else constant
    off = network_noise(rng, drive.lines.shape[:2], drive.fps)
    if network == "half asleep":
        return 0.3 * drive.lines + 0.7 * constant + off
    honest = pitched(rng, drive.lines, drive.fps) + off
    if network == "blinking":
        lost = np.repeat(rng.random((len(honest) // 10 + 1, 4)) < 0.2, 10, axis=0)[: len(honest)]
        return np.where(lost[..., None], np.nan, honest)
    if network == "smoothed":
        summed = np.cumsum(np.concatenate([np.repeat(honest[:1], round(drive.fps), axis=0), honest]), axis=0)
        return (summed[round(drive.fps) :] - summed[: -round(drive.fps)]) / round(drive.fps)
    return np.where(X_M > 38, np.nan, honest) if network == "short" else honest


def skill_of(steps: tuple[Steps, ...], lateral: Floats) -> tuple[float, float, float]:
    """(error in metres, skill, lag in seconds) of lines [frames, lines, stations], as a run measures them."""
    frames, points = [], []
    for frame, lines in enumerate(lateral):
        for y in lines:
            has = np.isfinite(y)
            if has.sum() >= 2:
                frames.append(frame)
                points.append(np.stack([X_M[has], y[has]], axis=1))
    table, place = LineTable.from_points(frames, points), np.arange(len(lateral))
    at = resample(table, GRID.stations.ravel(), GRID.frame)
    path = EgoPath(steps, GRID)
    path.add(
        place, place, table.frame, at, Tracker(GRID.thresholds.match_gate).update(table, at).track.astype(np.int64)
    )
    return path.error_m(), path.skill(), path.lag_s()


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, default=20)
    options, _ = parser.parse_known_args()
    for road, curved in (("bends", True), ("straight", False)):
        for seconds in (8, 15, 30):
            found: dict[str, list[tuple[float, float, float]]] = {name: [] for name in NETWORKS}
            for clip in range(options.clips):
                rng = np.random.default_rng([clip, seconds, curved])
                drive = drive_on(rng, seconds, curved=curved)
                way = Way.of(moments_of(drive, rng))
                steps = steps_of(way, GRID) if way is not None else None
                if steps is not None and np.isfinite(steps[0].constant_m):
                    for name in NETWORKS:
                        found[name].append(skill_of(steps, drawn_by(name, drive, rng)))
            print(f"{road}, {seconds} s: told in {len(found['honest'])} of {options.clips} clips", flush=True)
            for name, values in found.items():
                if values:
                    error, skill, lag = np.array(values).T
                    low, median, high = np.quantile(skill, [0.05, 0.5, 0.95])
                    told = f"error {np.median(error):.2f} m  skill {median:5.2f} ({low:5.2f} to {high:5.2f})"
                    print(f"  {name:12s} {told}  lag {np.median(lag):.2f} s ({lag.min():.2f} to {lag.max():.2f})")


if __name__ == "__main__":
    main()
