"""What the owner of a frame hides: faults by which lines move less than the lab's, through the shipped policy.

    python -m benchmarks.owner_hides [--drives N]

The candidate draws what the lab draws, but its lines move less (their movement about their median by a share, as in a
smaller picture), are means over the last moments, come late, or stand still. Each drive is measured twice: as the
harness does, and with every frame's difference taken for the candidate's, as before docs/decisions/0028. Told are the
share of lines, frames and bands (near and mid) whose largest offset is over 0.15 m, how much of these offsets is left
as the candidate's part, and the shares of drives that fail `release` either way.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from unittest import mock

import numpy as np
import polars as pl

from benchmarks.calibration.drives import Drawn, Version
from benchmarks.calibration.numbers import answers_of, measured_run
from benchmarks.calibration.suites import JudgedVersion, questions_of
from benchmarks.road_drive import CAMERA_HEIGHT_M, X_M, drive_on, network_noise, pitched
from harness.gate import load_policy
from harness.gate.verdict import Status

FPS, SECONDS, SPEED_MPS = 20.0, 12.0, 20.0
NOISE_M = 0.01, 0.02  # of both engines, near and at 40 m
LARGE_M = 0.15
Lines = np.ndarray
Change = Callable[[Lines, int], Lines]  # lines of a drive, and the frame in which something happens


def moves(share: float) -> Change:
    """Every line moves by that share of what it should, about where it is in the middle of the drive."""

    def change(lines: Lines, first: int) -> Lines:
        middle = np.median(lines, axis=0)
        return np.asarray(middle + share * (lines - middle))

    return change


def mean_of(seconds: float) -> Change:
    """Every line is the mean over its last moments."""

    def change(lines: Lines, first: int) -> Lines:
        count = round(seconds * FPS)
        total = np.cumsum(np.concatenate([np.repeat(lines[:1], count, axis=0), lines]), axis=0)
        return np.asarray((total[count:] - total[:-count]) / count)

    return change


def late(frames: int) -> Change:
    """Every line is that of some frames before."""
    return lambda lines, first: np.concatenate([np.repeat(lines[:1], frames, axis=0), lines[: len(lines) - frames]])


def held(seconds: float) -> Change:
    """Every line stands still for so long, just when something happens."""

    def change(lines: Lines, first: int) -> Lines:
        out = lines.copy()
        out[first : first + round(seconds * FPS)] = lines[first]
        return out

    return change


FAULTS: dict[str, Change] = {
    "none": lambda lines, first: lines,
    "moves by 80 %": moves(0.8),
    "moves by 70 %": moves(0.7),
    "moves by 60 %": moves(0.6),
    "moves by 40 %": moves(0.4),
    "mean of 0.5 s": mean_of(0.5),
    "mean of 1 s": mean_of(1.0),
    "0.25 s late": late(5),
    "held for 0.5 s": held(0.5),
    "held for 1 s": held(1.0),
    "held for 1.5 s": held(1.5),
}


def bump(lines: Lines, first: int) -> Lines:
    """The camera pitches by half a degree for 0.3 s."""
    out, frames = lines.copy(), round(0.3 * FPS)
    for k in range(frames):
        pitch = np.radians(0.5) * np.sin(np.pi * (k + 0.5) / frames)
        stretch = 1 + pitch / CAMERA_HEIGHT_M * X_M
        out[first + k] = [np.interp(X_M / stretch, X_M, y) * stretch for y in lines[first + k]]
    return out


def swerve(lines: Lines, first: int) -> Lines:
    """The car goes 0.5 m to the left and back within 1.5 s, as round a pothole."""
    frames = round(1.5 * FPS)
    aside = np.zeros(len(lines))
    aside[first : first + frames] = 0.5 * np.sin(np.pi * np.arange(frames) / frames) ** 2
    yaw = np.gradient(aside) * FPS / SPEED_MPS
    return lines - aside[:, None, None] - yaw[:, None, None] * X_M


EVENTS: dict[str, Callable[[Lines, int], Lines]] = {
    "bends, 0.3 m in the lane": lambda lines, first: lines,
    "straight, one bump": bump,
    "straight, one swerve": swerve,
}


@contextmanager
def without_owner() -> Iterator[None]:
    """Every difference of a frame is the candidate's."""
    with ExitStack() as stack:
        stack.enter_context(mock.patch("harness.measures.against.candidates_part", lambda pairs, rows, own, grid: own))
        stack.enter_context(
            mock.patch("harness.measures.series_table.lasting_offset", lambda offset, *others: offset)
        )  # fmt: skip
        yield


def drawn_by(change: Change, event: str, drives: int) -> Drawn:
    """Lab and candidate on some drives."""
    found = []
    for k in range(drives):
        rng = np.random.default_rng([k, 28])
        bends = event.startswith("bends")
        drive = drive_on(rng, SECONDS, fps=FPS, curved=bends, wander_m=0.3 if bends else 0.05, speed_mps=SPEED_MPS)
        first = int(rng.integers(60, len(drive.lines) - 90))
        road = EVENTS[event](pitched(rng, drive.lines, FPS, 0.05), first)
        lab, car = (network_noise(rng, road.shape[:2], FPS, *NOISE_M) for _ in range(2))
        found.append((road + lab, change(road, first) + car, drive.motion["yaw_rate_radps"]))
    lab, car, yaw_rate = (np.stack(x) for x in zip(*found, strict=True))
    return Drawn(lab.astype(np.float32), car.astype(np.float32), yaw_rate)


def measured(drawn: Drawn) -> tuple[np.ndarray, np.ndarray]:
    """(largest offset of each line, frame and band of near and mid, m; drives that fail `release`, bool [drives])."""
    policy = load_policy(Path("release"))
    version = Version("0.3 s, normal", (28,), SECONDS, len(drawn.reference), fps=FPS)
    run = measured_run(version, drawn)
    judged = JudgedVersion.of(version, answers_of(run, questions_of([policy])), policy)
    near = run.tables["line_metrics"].filter(pl.col("band") != "far").sort("case", "frame", "track", "band")
    return near["offset_max"].to_numpy(), np.array(
        [Status.FAIL in c for c in zip(*judged.statuses().values(), strict=True)]
    )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--drives", type=int, default=20)
    drives = parser.parse_args().drives
    print("| road | the candidate | offsets over 0.15 m | of them left | fail by the difference | by its part |")
    print("|---|---|---|---|---|---|")
    for event in EVENTS:
        for fault, change in FAULTS.items():
            drawn = drawn_by(change, event, drives)
            own, failed = measured(drawn)
            with without_owner():
                whole, failed_whole = measured(drawn)
            large = np.abs(whole) > LARGE_M
            left = np.abs(own[large]).sum() / np.abs(whole[large]).sum() if large.any() else np.nan
            shares = [f"{100 * v:.0f} %" for v in (left, failed_whole.mean(), failed.mean())]
            print(f"| {event} | {fault} | {100 * large.mean():.1f} % | {' | '.join(shares)} |", flush=True)


if __name__ == "__main__":
    main()
