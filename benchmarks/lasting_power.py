"""What wander and frozen find, and what noise, a delay and the road's curvature make of them.

    python -m benchmarks.lasting_power [--clips 40]

The drive wanders beside its lane, the road bends; noise is correlated, Student's t with 3 degrees of freedom.
docs/metrics-time.md has the tables.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from benchmarks.lag_power import FPS, Floats, smooth
from benchmarks.time_power import block_of, noise, owned
from harness.measures.blocks import StationBlock
from harness.measures.frozen import frozen_of
from harness.measures.wander import wander_of

Random = np.random.Generator

SECONDS = (12, 20, 30, 60)
FREQUENCIES_HZ = (0.1, 0.15, 0.2, 0.25)
DISTURBED = ((0.03, 0), (0.06, 0), (0.06, 2))  # noise in metres, station
NOISES = ((0.06, 0.3, 0), (0.06, 1.0, 0), (0.10, 0.5, 0), (0.10, 1.0, 0), (0.15, 0.5, 2), (0.15, 1.0, 2))
HELD_S = 2.5
DELAY = 10


def heavy(rng: Random, count: int, sigma: float, tau_s: float) -> Floats:
    """Noise as real networks have it."""
    return noise(rng, count, sigma, tau_s, FPS, 3.0)


def on_the_road(rng: Random, candidate_less_reference: Floats, station: int = 0, drive_m: float = 0.15) -> StationBlock:
    """A reference that sees the drive and the road, and a candidate beside it."""
    count = len(candidate_less_reference)
    reference = drive_m * smooth(rng, count, 0.2)
    block = block_of(reference + candidate_less_reference, reference, FPS, station)
    return replace(block, curvature=smooth(rng, count, 0.1))


def share(clips: int, found: Callable[[Random], bool]) -> float:
    """Share of clips in which something is found."""
    return sum(found(np.random.default_rng(seed)) for seed in range(clips)) / clips


def swings(rng: Random, seconds: int, hz: float, sigma: float, station: int) -> bool:
    """Whether 0.5 m peak to peak, far 1 m, is a wander."""
    t = np.arange(seconds * FPS) / FPS
    sine = (0.5 if station == 2 else 0.25) * np.sin(2 * np.pi * (hz * t + rng.random()))
    return wanders(on_the_road(rng, sine + heavy(rng, len(t), sigma, 0.5), station))


def wanders(block: StationBlock) -> bool:
    """Whether there is a wander; smaller ones have a size too."""
    return any(s.value > block.threshold("wander") for s in wander_of(block) or ())


def follows_the_road(rng: Random) -> bool:
    """Whether a difference proportional to the curvature is a wander."""
    block = on_the_road(rng, heavy(rng, 30 * FPS, 0.03, 0.5))
    moved = 0.3 * block.curvature
    offset = block.offset + moved
    return wanders(replace(block, offset=offset, lasting=offset, candidate=block.candidate + moved))


def delayed(rng: Random) -> bool:
    """Whether a delay of half a second is a wander."""
    reference = 0.5 * smooth(rng, 30 * FPS, 0.2)
    late = np.concatenate([np.full(DELAY, reference[0]), reference[:-DELAY]])
    return wanders(block_of(late + heavy(rng, len(late), 0.03, 0.5), reference, FPS))


def held(rng: Random, seconds: int, drive_m: float, frozen: bool) -> bool:
    """Whether an engine that hands out its last answer for 2.5 s is frozen; one that does not, where not `frozen`."""
    reference = drive_m * smooth(rng, seconds * FPS, 0.15) + 0.005 * rng.normal(size=seconds * FPS)
    candidate = reference + heavy(rng, len(reference), 0.01, 0.3)
    if frozen:
        candidate[-round(HELD_S * FPS) :] = candidate[-round(HELD_S * FPS) - 1]
    return owned(frozen_of(block_of(candidate, reference, FPS))) > 0


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, default=40)
    clips = parser.parse_known_args()[0].clips
    print("wander: share found of 0.5 m (far 1 m), by noise and station")
    for seconds in SECONDS:
        for hz in FREQUENCIES_HZ:
            cells = [share(clips, lambda r, s=seconds, f=hz, d=d: swings(r, s, f, *d)) for d in DISTURBED]  # type: ignore[misc]
            print(f"{seconds:3d} s {hz:.2f} Hz  " + "  ".join(f"{c:4.0%}" for c in cells))
    for sigma, tau_s, station in NOISES:
        alone = share(
            clips, lambda r, a=(sigma, tau_s), k=station: bool(wander_of(on_the_road(r, heavy(r, 600, *a), k)))
        )  # type: ignore[misc]
        print(f"noise {sigma:.2f} m, {tau_s} s, station {station}: {alone:.0%}")
    print(f"follows the curvature {share(clips, follows_the_road):.0%}, delayed {share(clips, delayed):.0%}")
    for seconds in (4, 15, 30):
        for drive_m in (0.05, 0.15, 0.5):
            cells = [share(clips, lambda r, a=(seconds, drive_m), f=f: held(r, *a, f)) for f in (True, False)]  # type: ignore[misc]
            print(f"frozen: {seconds} s, drive {drive_m} m: {cells[0]:.0%}, of clips without {cells[1]:.0%}")


if __name__ == "__main__":
    main()
