"""Do the bounds of `trueline gate --calibrate` hold: simulated scores of versions and drives, light and heavy tails.

Two things are asked of every cell (versions, drives, family of noise). How often is the chance of failing on new drives
above its upper bound; 5 % is nominal. How often does a further version exceed the limits that were to hold 95 %.
Beside them stands what resampling the drives of one version would have claimed.

    python -m benchmarks.calibration_bounds [--draws 400]
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from harness.calibrate.drives import chance_on_drives
from harness.calibrate.limits import factor_held

Floats = NDArray[np.float64]
Noise = Callable[[np.random.Generator, tuple[int, ...]], Floats]

FAMILIES: dict[str, Noise] = {
    "normal": lambda rng, size: rng.standard_normal(size),
    "t, 4 degrees": lambda rng, size: rng.standard_t(4, size) / np.sqrt(2),
    "Laplace": lambda rng, size: rng.laplace(0, 1 / np.sqrt(2), size),
    "skewed (Gumbel)": lambda rng, size: (rng.gumbel(0, 1, size) - 0.5772) / (np.pi / np.sqrt(6)),
    "one in ten three times as wide": lambda rng, size: (
        rng.standard_normal(size) * np.where(rng.random(size) < 0.1, 3.0, 1.0) / np.sqrt(1.8)
    ),
}
VERSIONS = (3, 6, 12, 24)
DRIVES = (8, 30)
SPREADS = (0.25, 0.15, 0.2)  # of drives, versions, rest, in logarithms
TRUE_CHANCE = 0.08
SEED = 3


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draws", type=int, default=400, help="simulated suites a cell")
    options, _ = parser.parse_known_args()
    print(f"chance that a good version fails on new drives: {TRUE_CHANCE:.0%}; {options.draws} suites a cell")
    print(
        "family | versions | drives | truth above the upper bound | resampled bound too low | new version over limits"
    )
    for family, noise in FAMILIES.items():
        for versions in VERSIONS:
            for drives in DRIVES:
                print(f"{family} | {versions} | {drives} | " + cell(noise, versions, drives, options.draws), flush=True)


def cell(noise: Noise, versions: int, drives: int, draws: int) -> str:
    """One cell, in percent."""
    rng = np.random.default_rng(SEED)
    mean = _mean_for(noise, drives)
    above = too_low = over = 0
    for _ in range(draws):
        y = mean + simulated(noise, rng, versions, drives)
        above += chance_on_drives(np.exp(y), draws=600).upper < TRUE_CHANCE
        too_low += _resampled_upper(y[0], rng) < TRUE_CHANCE
        limit = factor_held(np.exp(y[:-1].max(axis=1)))
        over += bool(np.exp(y[-1].max()) > limit)
    return " | ".join(f"{100 * count / draws:.1f}" for count in (above, too_low, over))


def simulated(noise: Noise, rng: np.random.Generator, versions: int, drives: int) -> Floats:
    """Logarithms of scores without their mean: drive + version + rest, float64 [versions, drives]."""
    of_drive, of_version, rest = SPREADS
    found: Floats = (
        of_drive * noise(rng, (1, drives))
        + of_version * noise(rng, (versions, 1))
        + rest * noise(rng, (versions, drives))
    )
    return found


def _mean_for(noise: Noise, drives: int, draws: int = 40_000) -> float:
    """The mean at which a new version fails on new drives with TRUE_CHANCE, by simulation."""
    rng = np.random.default_rng(SEED + 1)
    worst = np.array([simulated(noise, rng, 1, drives).max() for _ in range(draws)])
    return -float(np.quantile(worst, 1 - TRUE_CHANCE))


def _resampled_upper(y: Floats, rng: np.random.Generator) -> float:
    """What the drives of one version, resampled, would give as the upper bound of the chance that a version fails."""
    picked = y[rng.integers(0, len(y), (400, len(y)))]
    return float((picked.max(axis=1) > 0).mean())


if __name__ == "__main__":
    main()
