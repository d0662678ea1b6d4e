"""What lag finds and what it invents: power by delay, false rate by what else moves a line, both by clip length.

    python -m benchmarks.lag_power [--drives 40] [--seconds 3 5 10]

A drive has four lines at three look-ahead stations, seen from a car that keeps its lane, changes it, or meets a bend;
the reference shakes by `--jitter` metres of its own. A candidate is delayed, or it is the reference with a bias and
something else on top. docs/metrics-time.md has the tables.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from harness.measures.lag import LONGEST_LAG, agreed_lags, look_for_lag

Floats = NDArray[np.float64]
Random = np.random.Generator

FPS = 20
SPEED_MPS = 20.0
STATIONS_M = np.array([10.0, 20.0, 40.0])
LINES_M = np.array([5.4, 1.8, -1.8, -5.4])
FLOOR_M = 0.01
MOTIONS = ("keeping", "wandering", "changing", "bend")
DELAYS = (1, 2, 3, 5, 10)


def smooth(rng: Random, frames: int, hz: float) -> Floats:
    """Noise of unit RMS without anything quicker than about `hz`, [frames]."""
    lead = int(4 * FPS / hz)
    spectrum = np.fft.rfft(rng.normal(size=frames + 2 * lead))
    frequency_hz = np.fft.rfftfreq(frames + 2 * lead, 1 / FPS)
    values = np.fft.irfft(spectrum / (1 + (frequency_hz / hz) ** 4), frames + 2 * lead)[lead : lead + frames]
    return np.asarray(values / values.std())


def correlated(rng: Random, frames: int, rho: float, columns: int = 1) -> Floats:
    """First-order autoregressive noise of unit RMS, [frames, columns]."""
    values = rng.normal(size=(frames + 200, columns))
    for k in range(1, len(values)):
        values[k] = rho * values[k - 1] + np.sqrt(1 - rho**2) * values[k]
    return values[200:]


def drive(rng: Random, frames: int, motion: str) -> Floats:
    """Lateral positions of every line and station, metres, [frames, 12]."""
    t = np.arange(frames) / FPS
    curvature = np.zeros(frames)
    if motion == "keeping":
        beside = 0.06 * smooth(rng, frames, 0.2)
    elif motion == "wandering":
        beside, curvature = 0.2 * smooth(rng, frames, 0.25), 5e-4 * smooth(rng, frames, 0.1)
    elif motion == "changing":
        beside = 3.5 / (1 + np.exp(-(t - rng.uniform(0.25, 0.75) * t[-1]) / 0.6))
    else:
        beside = 0.05 * smooth(rng, frames, 0.2)
        curvature = 2e-3 / (1 + np.exp(-(t - rng.uniform(0.2, 0.8) * t[-1]) / 0.7))
    heading = np.gradient(beside, 1 / FPS) / SPEED_MPS
    ahead = -beside[:, None] - heading[:, None] * STATIONS_M + curvature[:, None] * STATIONS_M**2 / 2
    return np.asarray((LINES_M[:, None] + ahead[:, None, :]).reshape(frames, -1))


def shaken(rng: Random, seen: Floats, jitter_m: float) -> Floats:
    """Positions with the reference's own noise, half of it correlated."""
    noise = rng.normal(size=seen.shape) + correlated(rng, len(seen), 0.9, seen.shape[1])
    return seen + jitter_m * noise


def _far_more(seen: Floats) -> Floats:
    """Noise grows with the distance, [12]."""
    return np.tile([1.0, 1.5, 3.0], seen.shape[1] // 3)


def white(rng: Random, seen: Floats, size_m: float) -> Floats:
    """Another draw for every line, station and frame."""
    return seen + size_m * _far_more(seen) * rng.normal(size=seen.shape)


def heavy(rng: Random, seen: Floats, size_m: float) -> Floats:
    """Student's t with 2.5 degrees of freedom."""
    return seen + size_m * _far_more(seen) * rng.standard_t(2.5, seen.shape) / np.sqrt(5)


def slow_noise(rng: Random, seen: Floats, size_m: float) -> Floats:
    """Correlated over half a second, each line and station by itself."""
    return seen + size_m * _far_more(seen) * correlated(rng, len(seen), 0.9, seen.shape[1])


def common(rng: Random, seen: Floats, size_m: float) -> Floats:
    """Correlated over 1.7 s, the same on all lines."""
    return seen + size_m * _far_more(seen) * correlated(rng, len(seen), 0.97)


def slow(rng: Random, seen: Floats, size_m: float) -> Floats:
    """Another smooth movement below 0.3 Hz, the same on all lines."""
    return seen + size_m * _far_more(seen) * smooth(rng, len(seen), 0.3)[:, None]


def swinging(rng: Random, seen: Floats, size_m: float) -> Floats:
    """A sine of 0.4 to 1.5 Hz, the same on all lines."""
    turn = 2 * np.pi * (rng.uniform(0.4, 1.5) * np.arange(len(seen)) / FPS + rng.random())
    return seen + size_m * _far_more(seen) * np.sqrt(2) * np.sin(turn)[:, None]


def bursts(rng: Random, seen: Floats, size_m: float) -> Floats:
    """White noise, and a jump of many times its size for a few frames now and then."""
    moved = white(rng, seen, size_m)
    for _ in range(max(1, len(seen) // 60)):
        first = rng.integers(len(seen))
        moved[first : first + rng.integers(1, 8)] += 8 * size_m * rng.normal()
    return moved


def bent(rng: Random, seen: Floats, size_m: float) -> Floats:
    """Pushed aside by where it is: a soft step through its middle."""
    return seen + size_m * np.tanh((seen - seen.mean(axis=0) + 0.1 * rng.normal()) / 0.2)


def stepped(rng: Random, seen: Floats, size_m: float) -> Floats:
    """Rounded to steps, as a coarse grid or a resize does."""
    return 4 * size_m * np.round(seen / (4 * size_m))


def stretched(rng: Random, seen: Floats, size_m: float) -> Floats:
    """Moves a fifth more or less than the reference."""
    return seen * (1 + rng.choice([-0.2, 0.2]))


def rows_shifted(rng: Random, seen: Floats, size_m: float) -> Floats:
    """Read at another row of the image: further ahead by the square of the distance, which is earlier by as much."""
    late = size_m * np.array([1.0, 4.0, 16.0]) * rng.choice([-1, 1])
    return seen - np.gradient(seen, axis=0) * np.tile(late, seen.shape[1] // 3)


Disturbance = Callable[[Random, Floats, float], Floats]
NULLS: tuple[tuple[Disturbance, float], ...] = (
    (white, 0.02), (white, 0.1), (heavy, 0.05), (slow_noise, 0.03), (common, 0.05), (slow, 0.05), (slow, 0.2),
    (swinging, 0.1), (bursts, 0.03), (bent, 0.1), (stepped, 0.03), (stretched, 0.0), (rows_shifted, 0.1),
)  # fmt: skip
NOISES: tuple[tuple[Disturbance, float], ...] = ((white, 0.0), (white, 0.01), (heavy, 0.01), (slow_noise, 0.01))


def told(candidate: Floats, reference: Floats) -> float:
    """The lag of a case, NaN where none can be told; the mean of those that agree."""
    pairs = zip(candidate.T, reference.T, strict=True)
    lags = np.array(agreed_lags([look_for_lag(c, r, FPS, FLOOR_M) for c, r in pairs]))
    return float(lags[np.isfinite(lags)].mean()) if np.isfinite(lags).any() else float("nan")


def lags_told(
    seconds: float, delay: int, disturb: Disturbance, size_m: float, drives: int, jitter_m: float
) -> list[float]:
    """The lag of each of `drives` drives of every motion."""
    rng = np.random.default_rng([round(10 * seconds), delay, round(1000 * size_m)])
    frames, lags = round(seconds * FPS), []
    for motion in MOTIONS:
        for _ in range(drives):
            seen = shaken(rng, drive(rng, frames + 2 * LONGEST_LAG, motion), jitter_m)
            late = seen[LONGEST_LAG - delay : LONGEST_LAG - delay + frames]
            lags.append(told(disturb(rng, late, size_m) + 0.3, seen[LONGEST_LAG : LONGEST_LAG + frames]))
    return lags


def _share(flags: Sequence[bool]) -> str:
    return f"{np.mean(flags):6.1%}"


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--drives", type=int, default=40, help="of each motion")
    parser.add_argument("--seconds", type=float, nargs="+", default=[3.0, 5.0, 10.0])
    parser.add_argument("--jitter", type=float, default=0.005, help="of the reference, metres")
    options, _ = parser.parse_known_args()
    print(f"share of {4 * options.drives} drives without a delay for which half a frame or more is told")
    print(f"{'what moves the lines':24s}" + "".join(f"{s:5g} s " for s in options.seconds))
    for disturb, size_m in NULLS:
        row = [lags_told(s, 0, disturb, size_m, options.drives, options.jitter) for s in options.seconds]
        print(f"{disturb.__name__:14s} {size_m:5.2f} m  " + " ".join(_share([abs(v) >= 0.5 for v in r]) for r in row))
    print("share of drives in which a delay is told within half a frame")
    for disturb, size_m in NOISES:
        for s in options.seconds:
            row = [lags_told(s, d, disturb, size_m, options.drives, options.jitter) for d in DELAYS]
            shares = "  ".join(
                f"{d}: {_share([abs(v - d) <= 0.5 for v in r])}" for d, r in zip(DELAYS, row, strict=True)
            )
            print(f"{disturb.__name__:12s} {size_m:5.2f} m {s:4g} s  {shares}")


if __name__ == "__main__":
    main()
