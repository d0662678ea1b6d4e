"""Drives for tests and benchmarks: what a car sees of a road with lanes, the noise of networks, a camera that pitches.

Lines are lateral positions [frames, lines, stations] at `X_M`, metres in the car's frame. Nothing here knows a measure.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl
from scipy.ndimage import gaussian_filter1d

from benchmarks.time_power import noise

__all__ = ["CAMERA_HEIGHT_M", "X_M", "Drive", "drive_on", "moments_of", "network_noise", "pitched"]

X_M = np.arange(0, 81, 2.5)
LANES_M = np.array([5.25, 1.75, -1.75, -5.25])
CAMERA_HEIGHT_M = 1.5


@dataclass(frozen=True)
class Drive:
    """A drive.

    Attributes:
        lines: the true lines, [frames, 4, stations].
        motion: ego columns of frames.parquet.
        fps: frames a second.
    """

    lines: np.ndarray
    motion: dict[str, np.ndarray]
    fps: float

    @property
    def frames(self) -> int:
        """Length."""
        return len(self.lines)


def drive_on(
    rng: np.random.Generator, seconds: float, *, curved: bool = True, speed_mps: float = 20.0, fps: float = 20.0,
    wander_m: float = 0.2, radius_m: float = 400.0,
) -> Drive:  # fmt: skip
    """A drive on a road that bends (its curvature changes over 60 m) or is straight.

    Args:
        rng: of the road and of the driver.
        seconds: length.
        curved: whether the road bends.
        speed_mps: of the car.
        fps: frames a second.
        radius_m: 1 / RMS of the curvature.
        wander_m: RMS of the car's way to the side of the lane's middle, below 0.2 Hz.
    """
    frames = round(seconds * fps)
    step = 1.0
    along = np.arange(0, speed_mps * seconds + X_M[-1] + 40, step)
    bend = gaussian_filter1d(rng.standard_normal(len(along) + 600), 60 / step)[300 : 300 + len(along)]
    curvature = bend / bend.std() / radius_m if curved else np.zeros(len(along))
    heading = np.cumsum(curvature) * step
    road = np.stack([np.cumsum(np.cos(heading)), np.cumsum(np.sin(heading))], axis=1) * step
    left = np.stack([-np.sin(heading), np.cos(heading)], axis=1)
    place = speed_mps * np.arange(frames) / fps + 20
    beside = gaussian_filter1d(rng.standard_normal(frames + 400), 0.8 * fps)[200 : 200 + frames]
    beside = wander_m * beside / max(beside.std(), 1e-9)
    at = [np.stack([np.interp(place, along, c) for c in v.T], axis=1) for v in (road, left)]
    car = at[0] + beside[:, None] * at[1]
    yaw = np.interp(place, along, heading) + np.arctan(np.gradient(beside) * fps / speed_mps)
    lines = np.stack([road + w * left for w in LANES_M])
    seen = np.empty((frames, len(LANES_M), len(X_M)))
    cos, sin = np.cos(yaw), np.sin(yaw)
    for k in range(frames):
        first = int(place[k] / step) - 20
        to = lines[:, first : first + 130] - car[k]
        forward, aside = cos[k] * to[..., 0] + sin[k] * to[..., 1], cos[k] * to[..., 1] - sin[k] * to[..., 0]
        for i in range(len(LANES_M)):
            seen[k, i] = np.interp(X_M, forward[i], aside[i])
    motion = {
        "speed_mps": np.full(frames, speed_mps), "yaw_rate_radps": np.gradient(yaw) * fps, "x_m": car[:, 0],
        "y_m": car[:, 1], "yaw_rad": yaw,
    }  # fmt: skip
    return Drive(seen, motion, fps)


def network_noise(
    rng: np.random.Generator, shape: tuple[int, int], fps: float = 20.0, near_m: float = 0.04, far_m: float = 0.12,
    tau_s: float = 0.4,
) -> np.ndarray:  # fmt: skip
    """How far an honest network is off, [frames, lines, stations]: correlated in time, heavy-tailed, smooth on a line.

    Every line shifts (`near_m` RMS), turns and bows (together `far_m` at 40 m); half of the power all lines share.
    """
    frames, lines = shape
    size = np.array([near_m, 0.9 * far_m, 0.4 * far_m])
    shapes = np.stack([np.ones(len(X_M)), X_M / 40, (X_M / 40) ** 2])
    common = np.stack([noise(rng, frames, 1.0, tau_s, fps, 3.0) for _ in range(3)], axis=1)[:, None]
    own = np.stack([noise(rng, frames, 1.0, tau_s, fps, 3.0) for _ in range(3 * lines)], axis=1).reshape(
        frames, lines, 3
    )
    return ((common + own) / np.sqrt(2) * size) @ shapes


def pitched(
    rng: np.random.Generator, lines: np.ndarray, fps: float = 20.0, sigma_deg: float = 0.25, tau_s: float = 0.3
) -> np.ndarray:
    """The lines as a camera that pitches reports them, which takes the road for flat and itself for level."""
    k = np.radians(noise(rng, len(lines), sigma_deg, tau_s, fps, 3.0)) / CAMERA_HEIGHT_M
    out = np.empty_like(lines)
    for f, frame in enumerate(lines):
        stretch = 1 + k[f] * X_M
        for i, y in enumerate(frame):
            out[f, i] = np.interp(X_M / stretch, X_M, y) * stretch
    return out


def moments_of(drive: Drive, rng: np.random.Generator | None = None) -> pl.DataFrame:
    """frames.parquet of a drive; with a generator as speed and yaw rate of sensors tell it: 1 % too fast, a yaw rate
    that is off by 0.002 rad/s and noisy by 0.01 rad/s."""
    motion = drive.motion
    if rng is not None:
        rate = drive.motion["yaw_rate_radps"] + 0.002 + 0.01 * rng.standard_normal(drive.frames)
        motion = {"speed_mps": 1.01 * drive.motion["speed_mps"], "yaw_rate_radps": rate}
    time_ns = np.round(np.arange(drive.frames) * 1e9 / drive.fps).astype(np.int64)
    return pl.DataFrame({"timestamp_ns": time_ns, **motion})
