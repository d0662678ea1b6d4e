"""Numbers that the plan asks for: log ratios to plain continuation, intervals, Holm, equivalence, power, the choice."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.stats import nct
from scipy.stats import t as student

from benchmarks.papers.study import interval
from benchmarks.study.arms import ARMS, BY_NAME, CONFIRMED_ARMS, CONTROL
from benchmarks.study.bench import UNSEEN
from benchmarks.study.cells import ENSEMBLE, Cell, screening

__all__ = [
    "CLEAN_BOUND", "DECLARED", "EQUIVALENCE_MM", "MEASURES", "SLOPE_BOUND", "Cells", "Crossed", "Kept", "chosen",
    "crossed", "detectable", "equivalent", "error_ratio", "gap_ratio", "holm", "log_gaps", "p_value", "ratios",
    "slope_of",
]  # fmt: skip

DECLARED = ("deploy",)
CLEAN_BOUND, SLOPE_BOUND, EQUIVALENCE_MM = math.log(1.05), 0.95, 1.0
LEAST_GAP_MM = 0.01  # of a clip: a network that answers alike whatever it sees has none, and a logarithm needs one
Kept = Mapping[str, Any]
Cells = Mapping[Cell, Kept]


def gap_ratio(own: Kept, control: Kept, pipelines: Sequence[str], section: str = "pictures") -> float:
    """Mean over clips and pipelines of log(gap of own / gap of control)."""
    return float(np.mean([log_gaps(own, p, section) - log_gaps(control, p, section) for p in pipelines]))


def log_gaps(kept: Kept, pipeline: str, section: str = "pictures") -> NDArray[np.float64]:
    """Log of the gap in mm of every clip [clip]."""
    found: NDArray[np.float64] = np.log(np.maximum(kept["measures"][section]["gap"][pipeline], LEAST_GAP_MM))
    return found


def error_ratio(own: Kept, control: Kept, pipeline: str) -> float:
    """Log of the ratio of mean errors against truth through a pipeline."""
    errors = [float(np.nanmean(kept["measures"]["pictures"]["error"][pipeline])) for kept in (own, control)]
    return math.log(errors[0] / errors[1])


MEASURES: Mapping[str, Callable[[Kept, Kept], float]] = {
    "declared": lambda own, control: gap_ratio(own, control, DECLARED),
    "unseen": lambda own, control: gap_ratio(own, control, UNSEEN),
    "clean": lambda own, control: error_ratio(own, control, "train"),
    "car": lambda own, control: error_ratio(own, control, "deploy"),
}


def ratios(cells: Cells, stage: str, arm: str, what: str, against: str = CONTROL) -> list[float]:
    """One log ratio a seed that both arms have finished; `what` is of MEASURES.

    The ensemble has networks of all starts: its one value is the mean over those starts, whatever it is held against.
    """
    against = "start" if arm == ENSEMBLE else against
    others = {c.seed: kept for c, kept in cells.items() if (c.stage, c.arm) == (stage, against)}
    own = {c.seed: kept for c, kept in cells.items() if (c.stage, c.arm) == (stage, arm)}
    one = MEASURES[what]
    if arm == ENSEMBLE:
        return [float(np.mean([one(kept, other) for other in others.values()])) for kept in own.values() if others]
    return [one(kept, others[seed]) for seed, kept in own.items() if seed in others]


def slope_of(cells: Cells, stage: str, arm: str) -> float:
    """Mean over seeds of the slope of the arm's answers on truth."""
    own = [kept for cell, kept in cells.items() if (cell.stage, cell.arm) == (stage, arm)]
    return float(np.mean([kept["measures"]["pictures"]["slope"] for kept in own]))


def p_value(values: Sequence[float]) -> float:
    """Two-sided, of a mean of zero (paired t)."""
    count, spread = len(values), float(np.std(values, ddof=1))
    return float(2 * student.sf(abs(float(np.mean(values))) / (spread / math.sqrt(count)), count - 1))


def holm(p_values: Sequence[float], level: float = 0.05) -> list[bool]:
    """Which of several hypotheses Holm's procedure rejects; one without a p-value (NaN) never."""
    rejected = [False] * len(p_values)
    for rank, i in enumerate(np.argsort(p_values)):  # NaN last
        if not p_values[i] <= level / (len(p_values) - rank):
            break
        rejected[int(i)] = True
    return rejected


def equivalent(values: Sequence[float], bound: float) -> bool:
    """Two one-sided tests at 5 %: the 90 % interval of the mean lies within +-bound."""
    _, low, high = interval(values, 0.90)
    return -bound < low and high < bound


def detectable(spread: float, count: int, level: float, power: float = 0.8) -> float:
    """Smallest true mean that a two-sided paired t test of that level finds with that power.

    Args:
        spread: standard deviation of the differences.
        count: pairs.
    """
    critical = float(student.ppf(1 - level / 2, count - 1))
    low, high = 0.0, 50.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (low, middle) if float(nct.sf(critical, count - 1, middle)) > power else (middle, high)
    return high * spread / math.sqrt(count)


class Crossed(NamedTuple):
    """Of two-way random effects: (mean, low, high) at 95 %, and the standard deviations between seeds and clips."""

    interval: tuple[float, float, float]
    sd_seeds: float
    sd_clips: float


def crossed(values: NDArray[np.float64]) -> Crossed:
    """Moments estimate of the mean and of the spreads of a table with one value a cell.

    The mean's variance is that of seeds / n + that of clips / m + the rest / (n m); its interval is Student's t with
    n - 1 degrees of freedom, which is wide where the clips vary more than the seeds.

    Args:
        values: [seed, clip].

    Source: Searle, Casella, McCulloch, Variance Components, 1992, chapter 4 (ANOVA estimates, set to 0 where negative).
    """
    seeds, clips = values.shape
    rest = values - values.mean(0) - values.mean(1, keepdims=True) + values.mean()
    noise = float((rest**2).sum() / max((seeds - 1) * (clips - 1), 1))
    of_seeds, of_clips = (
        max(float(np.var(values.mean(axis), ddof=1)) - noise / n, 0.0) for axis, n in ((1, clips), (0, seeds))
    )
    error = math.sqrt(of_seeds / seeds + of_clips / clips + noise / (seeds * clips))
    mean, half = float(values.mean()), float(student.ppf(0.975, seeds - 1)) * error
    return Crossed((mean, mean - half, mean + half), math.sqrt(of_seeds), math.sqrt(of_clips))


def chosen(cells: Cells, failed: Collection[Cell] = ()) -> tuple[str, ...] | None:
    """The arms to confirm by PLAN.md's rule; None until every screening cell of a confirmable arm is there.

    Eligible: no failed cell, mean clean ratio at most 5 %, mean slope at least 0.95. Of each family the best; the best
    two by the mean of the log ratios on declared and unseen pipelines. Where fewer are eligible, those with the least
    clean ratio.
    """
    wanted = [a for a in ARMS if a.confirmable]
    names = {CONTROL, *(a.name for a in wanted)}
    if any(c not in cells and c not in failed for c in screening() if c.arm in names):
        return None
    wanted = [a for a in wanted if not any(c.stage == "screen" and c.arm == a.name for c in failed)]
    score, clean, fit = {}, {}, {}
    for arm in wanted:
        score[arm.name] = sum(float(np.mean(ratios(cells, "screen", arm.name, w))) for w in ("declared", "unseen")) / 2
        clean[arm.name] = float(np.mean(ratios(cells, "screen", arm.name, "clean")))
        fit[arm.name] = clean[arm.name] <= CLEAN_BOUND and slope_of(cells, "screen", arm.name) >= SLOPE_BOUND
    order = sorted((n for n in score if fit[n]), key=score.__getitem__)
    order += sorted((n for n in score if not fit[n]), key=clean.__getitem__)
    found: list[str] = []
    for name in order:
        family = BY_NAME[name].family or name
        if family not in {BY_NAME[f].family or f for f in found}:
            found.append(name)
    return tuple(found[:CONFIRMED_ARMS])
