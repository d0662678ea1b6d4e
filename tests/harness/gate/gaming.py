"""Candidates that a gate must tell apart: one honest network, and those that would look better than they are.

Every candidate is a suite of drives on which lab and car drew lines: with ground truth, and with the motion of the car.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np

from benchmarks.road_drive import Drive, drive_on, network_noise, pitched
from harness.run.folder import Run
from tests.harness.planted import X_M, Drawn, drawn, planted_suite

__all__ = ["CANDIDATES", "candidate_run", "lines_of"]

DRIVES, SECONDS, FPS = 8, 12.0, 10.0
PITCH_DEG = 0.1  # what is left of the car's after the network has seen the horizon
CANDIDATES = ("honest", "brittle", "threshold raised", "constant", "cut at 42 m", "smoothed")


def candidate_run(folder: Path, candidate: str, *, curved: bool, seed: int = 0) -> Run:
    """A run of one candidate on eight drives.

    Args:
        folder: where to write it.
        candidate: one of CANDIDATES.
        curved: whether the roads bend.
        seed: of the candidate's noise; the drives are the same for all.
    """
    cases = {}
    for k in range(DRIVES):
        drive = drive_on(
            np.random.default_rng([k, curved]), SECONDS, curved=curved, fps=FPS, wander_m=0.3, radius_m=600.0
        )
        lab, car = lines_of(candidate, drive, np.random.default_rng([seed, k, 7]))
        cases[f"drive_{k}"] = Drawn(drawn(lab), drawn(car), drive.frames, drawn(drive.lines), drive.motion)
    return planted_suite(folder, cases, fps=FPS)


@cache
def _drive(number: int, curved: bool) -> Drive:
    rng = np.random.default_rng([number, curved])
    return drive_on(rng, SECONDS, curved=curved, fps=FPS, wander_m=0.3, radius_m=600.0)


def lines_of(candidate: str, drive: Drive, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """What lab and car drew of a drive, [frames, lines, stations] each."""
    shape = drive.lines.shape[:2]
    engine = network_noise(rng, shape, FPS, 0.005, 0.01)  # what another engine makes of the same network
    if candidate == "constant":
        always = np.broadcast_to(np.median(drive.lines, axis=0), drive.lines.shape)
        return always, always
    lab = pitched(rng, drive.lines, FPS, PITCH_DEG) + network_noise(rng, shape, FPS)
    if candidate == "cut at 42 m":
        lab = np.where(X_M > 42, np.nan, lab)
    if candidate == "smoothed":
        lab = _smoothed(lab, round(FPS))
    if candidate not in ("brittle", "threshold raised"):
        return lab, lab + engine
    swayed = network_noise(rng, shape, FPS, 0.15, 0.4)  # what a small change of the picture does to it
    unsure = np.abs(swayed[..., X_M == 20]).max(axis=-1) > 0.1
    if candidate == "brittle":
        return lab, lab + swayed
    drop = unsure[..., None]
    return np.where(drop, np.nan, lab), np.where(drop, np.nan, lab + engine + np.clip(swayed, -0.05, 0.05))


def _smoothed(lines: np.ndarray, frames: int) -> np.ndarray:
    """The mean of the last frames."""
    summed = np.cumsum(np.concatenate([np.repeat(lines[:1], frames, axis=0), lines]), axis=0)
    return (summed[frames:] - summed[:-frames]) / frames
