"""Other drives, the next version: how often it fails somewhere on a suite of as many drives that nobody has seen.

The logarithm of a drive's score is taken as mean + drive + version + rest, all random. What is not known well (few
versions say little of how versions vary) is carried through by generalised confidence bounds: every variance is drawn
from what its mean square allows, and the chance is computed for every draw (Weerahandi, Journal of the American
Statistical Association 88 (1993), for variance components; Burdick, Borror and Montgomery, Design and Analysis of
Gauge R&R Studies, 2005, appendix B). The upper tail of drives and rest is taken as wide and as heavy as that of
resampled drives, at least a Student t of LIGHT degrees of freedom, as are versions.
`python -m benchmarks.calibration_bounds` has how often the bounds hold.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from harness.calibrate.suite import CONFIDENCE, Chance

__all__ = ["chance_on_drives"]

Floats = NDArray[np.float64]
DRAWS = 4000
NODES = 100  # quantiles that versions are integrated over
LEAST = 1e-3  # a score below a thousandth of its limit is as good as nothing
SEED = 20261127
RESAMPLED = 200
HEAVY, LIGHT = 3.0, 5.0  # degrees of freedom that tails are given; few drives cannot show that theirs are lighter


def chance_on_drives(scores: Floats, drives: int | None = None, draws: int = DRAWS) -> Chance:
    """The chance that a good version fails somewhere on new drives.

    Args:
        scores: float64 [versions, drives], finite, of good versions; two of each at least.
        drives: of the new suite; None: as many as these.
        draws: of the unknown variances.
    """
    y = np.log(np.maximum(scores, LEAST))
    versions, known = y.shape
    rng = np.random.default_rng(SEED)
    squares, freedom = _mean_squares(y)
    of_drive, of_version, rest = (
        ms * f / rng.chisquare(f, draws) for ms, f in zip(squares, freedom, strict=True)
    )  # of each source its own variance and those below it, as its mean square allows
    drive = np.maximum(0.0, (of_drive - rest) / versions)
    version = np.maximum(0.0, (of_version - rest) / known)
    spread = np.sqrt(drive / known + version / versions + rest / (known * versions))
    mean = y.mean() + spread * rng.standard_normal(draws)
    wider, tails = _upper_tails(y, rng, draws)
    chances = _fails_somewhere(mean, version, (drive + rest) * wider**2, known if drives is None else drives, tails)
    low, middle, high = np.quantile(chances, [1 - CONFIDENCE, 0.5, CONFIDENCE])
    return Chance(float(middle), float(low), float(high))


def _mean_squares(y: Floats) -> tuple[tuple[float, float, float], tuple[int, int, int]]:
    """Mean squares of drives, versions and rest, and their degrees of freedom."""
    versions, drives = y.shape
    freedom = (drives - 1, versions - 1, (drives - 1) * (versions - 1))
    of_drive, of_version, mean = y.mean(axis=0), y.mean(axis=1), y.mean()
    squares = (
        float(versions * ((of_drive - mean) ** 2).sum() / freedom[0]),
        float(drives * ((of_version - mean) ** 2).sum() / freedom[1]),
        float((_rest(y) ** 2).sum() / freedom[2]),
    )
    return squares, freedom


def _rest(y: Floats) -> Floats:
    found: Floats = y - y.mean(axis=0) - y.mean(axis=1)[:, None] + y.mean()
    return found


def _upper_tails(y: Floats, rng: np.random.Generator, draws: int) -> tuple[Floats, Floats]:
    """How much wider the upper half is than the whole, and the degrees of freedom of its t, of resampled drives.

    Returns:
        Two float64 [draws]; widths are 1 or more, degrees of freedom between HEAVY and LIGHT.
    """
    off = y - y.mean(axis=1)[:, None]  # of a version: drive and rest
    picked = rng.integers(0, off.shape[1], (min(RESAMPLED, draws), off.shape[1]))
    some = off[:, picked].transpose(1, 0, 2).reshape(len(picked), -1)
    some = some - np.median(some, axis=1, keepdims=True)
    upper = np.maximum(some, 0.0)
    square = 2 * (upper**2).mean(axis=1)
    whole = np.maximum((some**2).mean(axis=1), 1e-18)
    excess = 2 * (upper**4).mean(axis=1) / np.maximum(square, 1e-18) ** 2 - 3
    tails = np.clip(4 + 6 / np.maximum(excess, 1e-6), HEAVY, LIGHT)
    chosen = rng.integers(0, len(picked), draws)
    return np.maximum(1.0, np.sqrt(square / whole))[chosen], tails[chosen]


def _fails_somewhere(mean: Floats, version: Floats, rest: Floats, drives: int, tails: Floats) -> Floats:
    """P(max over drives of log score > 0), the version integrated out; float64 [draws]."""
    from scipy.special import stdtr, stdtrit

    nodes = stdtrit(LIGHT, (np.arange(NODES) + 0.5) / NODES) * np.sqrt((LIGHT - 2) / LIGHT)
    shifted = mean[:, None] + np.sqrt(version)[:, None] * nodes
    scale = np.sqrt(np.maximum(rest, 1e-18) * (tails - 2) / tails)[:, None]
    below = stdtr(tails[:, None], -shifted / scale)
    found: Floats = 1 - (below**drives).mean(axis=1)
    return found
