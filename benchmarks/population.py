"""How often the gate's population rules are wrong, and how often they decide at all.

Shares: exact, by adding up every number of violations. For each number of drives the table gives the chance of PASS, of
FAIL and of INCONCLUSIVE at several truths; at the truth on the border a PASS and a FAIL are both wrong, and each must
stay below 1 - confidence. Against a baseline: how often a bound of the mean passes wrongly where differences are
skewed, and how often the share of drives that are worse does.

    python -m benchmarks.population [--draws 20000]
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from harness.gate.stats import cases_needed, share_bounds

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
    _print_paired(options.draws)


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


def _print_paired(draws: int) -> None:
    """PASS where a share `allowed` of all drives is worse by more than the margin: always wrong, whatever the shape."""
    print(
        f"\nagainst a baseline, {draws} draws: wrong PASS by a bound of the mean, by the share of drives that are worse"
    )
    for shape, draw in SHAPES.items():
        many = draw(np.random.default_rng(SEED + 1), (200_000, 1)).ravel()
        for n in CASES:
            samples = draw(np.random.default_rng(SEED), (draws, n))
            told = [f"mean {_mean_passes(samples, float(many.mean())):.1%}"]
            for allowed in ALLOWED[1:]:
                worse = (samples > float(np.quantile(many, 1 - allowed)) - 1e-9).sum(axis=1)
                passes = [share_bounds(k, n, CONFIDENCE).proves(allowed) is True for k in range(n + 1)]
                told.append(f"share, {allowed:.0%} allowed {np.mean(np.take(passes, worse)):.1%}")
            print(f"  {shape:30} {n:2} drives | " + " | ".join(told))


def _mean_passes(samples: NDArray[np.float64], margin: float) -> float:
    """Share of samples whose mean Student's t shows to be at most its true value; it is not below it: 5 % nominal."""
    from scipy.special import stdtrit

    n = samples.shape[1]
    half = stdtrit(n - 1, CONFIDENCE) * samples.std(axis=1, ddof=1) / np.sqrt(n)
    return float(np.mean(samples.mean(axis=1) + half <= margin))


def _standard_lognormal(rng: np.random.Generator, size: tuple[int, int]) -> NDArray[np.float64]:
    raw = rng.lognormal(0, 1, size)
    return (raw - np.exp(0.5)) / np.sqrt((np.e - 1) * np.e)


def _three(passed: float, failed: float) -> str:
    return f"{passed:6.1%} {failed:6.1%} {1 - passed - failed:6.1%}"


if __name__ == "__main__":
    main()
