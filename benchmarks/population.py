"""How often the gate's population rules are wrong, and how often they decide at all.

Shares: exact, by adding up every number of violations. Means: simulated pairs, normal and skewed. For each number of
cases the table gives the chance of PASS, of FAIL and of INCONCLUSIVE at several truths; at the truth on the border a
PASS and a FAIL are both wrong, and each must stay below 1 - confidence.

    python -m benchmarks.population [--draws 20000]
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from harness.gate.stats import cases_needed, mean_bounds, share_bounds

CASES = (8, 20, 50)
CONFIDENCE = 0.95
ALLOWED = (0.05, 0.10, 0.35)
SEED = 0

Draw = Callable[[np.random.Generator, tuple[int, int]], NDArray[np.float64]]

# differences with mean 0 and standard deviation 1
SHAPES: dict[str, Draw] = {
    "normal": lambda rng, size: rng.normal(0, 1, size),
    "skewed to worse (log-normal)": lambda rng, size: _standard_lognormal(rng, size),
    "skewed to better (log-normal)": lambda rng, size: -_standard_lognormal(rng, size),
    "one case in ten differs": lambda rng, size: (rng.random(size) < 0.1) / 0.3 - 1 / 3,
}


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draws", type=int, default=20_000)
    options, _ = parser.parse_known_args()
    print(f"one-sided confidence {CONFIDENCE}")
    _print_bounds()
    _print_shares()
    _print_means(options.draws)


def _print_bounds() -> None:
    print("\nupper bound of the share after 0 / 1 / 2 violations, and cases needed to pass without any")
    for n in CASES:
        print(f"  {n:3} cases: " + " / ".join(f"{share_bounds(k, n, CONFIDENCE).upper:.1%}" for k in range(3)))
    for allowed in ALLOWED:
        print(f"  allowed {allowed:.0%}: {cases_needed(allowed, CONFIDENCE)} cases")


def _print_shares() -> None:
    print("\nshares: PASS / FAIL / INCONCLUSIVE, exact")
    for allowed in ALLOWED:
        for n in CASES:
            told = [f"true {t:4.0%}: {_three(*_share_rates(n, t, allowed))}" for t in _truths(allowed)]
            print(f"  allowed {allowed:3.0%}, {n:2} cases | " + " | ".join(told))


def _truths(allowed: float) -> tuple[float, ...]:
    """None, a quarter, the border, and twice the allowed share."""
    return 0.0, allowed / 4, allowed, min(2 * allowed, 0.9)


def _share_rates(cases: int, truth: float, allowed: float) -> tuple[float, float]:
    from scipy.stats import binom

    proofs = [share_bounds(k, cases, CONFIDENCE).proves(allowed) for k in range(cases + 1)]
    weights = binom.pmf(range(cases + 1), cases, truth)
    return (
        float(sum(w for w, p in zip(weights, proofs, strict=True) if p is True)),
        float(sum(w for w, p in zip(weights, proofs, strict=True) if p is False)),
    )


def _print_means(draws: int) -> None:
    print(f"\nmeans: PASS / FAIL / INCONCLUSIVE in {draws} draws; the margin is 1 standard deviation of a case")
    for shape, draw in SHAPES.items():
        for n in CASES:
            rng = np.random.default_rng(SEED)
            told = []
            for truth in (0.0, 0.5, 1.0, 1.5, 2.0):
                told.append(f"true {truth:3.1f}: {_three(*_mean_rates(draw(rng, (draws, n)) + truth))}")
            print(f"  {shape:30} {n:2} cases | " + " | ".join(told))


def _mean_rates(samples: NDArray[np.float64]) -> tuple[float, float]:
    """Shares of samples that pass and that fail at a margin of 1; `mean_bounds` for many samples at once."""
    from scipy.special import stdtrit

    n = samples.shape[1]
    mean = samples.mean(axis=1)
    half = stdtrit(n - 1, CONFIDENCE) * samples.std(axis=1, ddof=1) / np.sqrt(n)
    first = mean_bounds(samples[0], CONFIDENCE)
    assert np.allclose((first.lower, first.upper), (mean[0] - half[0], mean[0] + half[0]))
    return float(np.mean(mean + half <= 1)), float(np.mean(mean - half > 1))


def _standard_lognormal(rng: np.random.Generator, size: tuple[int, int]) -> NDArray[np.float64]:
    raw = rng.lognormal(0, 1, size)
    return (raw - np.exp(0.5)) / np.sqrt((np.e - 1) * np.e)


def _three(passed: float, failed: float) -> str:
    return f"{passed:6.1%} {failed:6.1%} {1 - passed - failed:6.1%}"


if __name__ == "__main__":
    main()
