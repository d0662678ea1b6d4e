"""Limits on offset and heading that good candidates hold, by the families that limits may be chosen by.

    python -m benchmarks.calibration.choosing [--versions 48]

These measures are of single frames and cheap, so many versions can be asked. The number of a rule is the largest p95 of
any line and band of a hundred drives of 15 s, as the gate has it; the limits hold all of them together for 95 % of
versions (`harness.calibrate.limits`). docs/decisions/0022 says what came of it.
"""

from __future__ import annotations

import argparse

import numpy as np

from benchmarks.calibration.cells import CASES, SEED
from benchmarks.calibration.drives import X_M, Version, draw
from benchmarks.calibration.noise import CALIBRATION, Floats
from benchmarks.calibration.numbers import GRID
from harness.calibrate.limits import factor_held
from harness.measures.band import band_metrics

SECONDS = 15.0
NEAR_MID, FAR = (0, 1), (2,)
RULES = {
    "offset-near-mid, m": ("offset_mean", NEAR_MID, 1.0),
    "offset-far, m": ("offset_mean", FAR, 1.0),
    "offset-max-near-mid, m": ("offset_max", NEAR_MID, 1.0),
    "offset-max-far, m": ("offset_max", FAR, 1.0),
    "heading-near-mid, deg": ("heading", NEAR_MID, 180 / np.pi),
    "heading, deg": ("heading", (*NEAR_MID, *FAR), 180 / np.pi),
}


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--versions", type=int, default=48)
    count = parser.parse_args().versions
    families = list(CALIBRATION)
    found = np.array([worst_of(Version(families[k % 3], (SEED, 9, k), SECONDS, CASES)) for k in range(count)])
    typical = np.median(found, axis=0)
    factor = factor_held((found / typical).max(axis=1))
    print(f"{count} versions, {CASES} drives of {SECONDS:g} s: worst of a typical version | limit that holds 95 %")
    for name, middle in zip(RULES, typical, strict=True):
        print(f"{name} | {middle:.3f} | {factor * middle:.3f}")


def worst_of(version: Version) -> Floats:
    """Of every rule the largest number of any case, float64 [rules]."""
    drawn = draw(version)
    both = np.where(np.isfinite(drawn.candidate), drawn.candidate - drawn.reference, np.nan)
    offset = np.apply_along_axis(_at_stations, -1, both.astype(np.float64))
    shape = (-1, *GRID.stations.shape)
    values = band_metrics(offset.reshape(shape), GRID, np.isfinite(offset).reshape(shape))
    of_lines = {
        name: np.abs(values[name]).reshape(*both.shape[:3], 3) for name in ("offset_mean", "offset_max", "heading")
    }
    return np.array([scale * _largest_p95(of_lines[name][..., bands]) for name, bands, scale in RULES.values()])


def _at_stations(lateral: Floats) -> Floats:
    """At the stations of all bands, NaN where the line does not reach."""
    return np.asarray(np.interp(GRID.stations.ravel(), X_M, lateral))


def _largest_p95(values: Floats) -> float:
    """Over time, of the worst case, line and band; of lines with a value in every frame, for speed."""
    whole = np.isfinite(values).all(axis=1)
    return float(np.quantile(np.moveaxis(values, 1, -1)[whole], 0.95, axis=-1).max())


if __name__ == "__main__":
    main()
