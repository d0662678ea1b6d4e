"""What the plan says of an arm: its bounds, the primary tests with Holm, success, and which recipe follows."""

from __future__ import annotations

import math
from collections.abc import Collection
from typing import NamedTuple

import numpy as np

from benchmarks.papers.study import interval
from benchmarks.study import statistics as st
from benchmarks.study.arms import ARMS, CONFIRM_SEEDS, CONFIRMED_ARMS, CONTROL, RECIPE, order
from benchmarks.study.cells import Cell
from benchmarks.study.statistics import Cells

__all__ = [
    "MET", "Test", "bounds", "complete", "confirmed_arms", "detectable_ratios", "halved", "judged", "recipe", "tests",
]  # fmt: skip

MET = "within the bounds"
PRIMARY = ("declared", "unseen")


class Test(NamedTuple):
    """One primary hypothesis: log ratios to plain by seed, p of the paired t, whether Holm rejects it."""

    values: list[float]
    p: float
    rejected: bool


def confirmed_arms(cells: Collection[Cell], failed: Collection[Cell]) -> list[str]:
    """The arms that are tested, of those that have a cell."""
    return order({c.arm for c in [*cells, *failed] if c.stage == "confirm"} - {CONTROL, RECIPE})


def complete(cells: Collection[Cell], failed: Collection[Cell]) -> bool:
    """Whether every network from scratch is there, or is known to have failed."""
    known = {c for c in [*cells, *failed] if c.stage == "confirm"}
    return len(known) == len(CONFIRM_SEEDS) * (2 + CONFIRMED_ARMS)


def bounds(cells: Cells, stage: str, arm: str) -> str:
    """MET, or which bound is not: of the mean in screening, of the one-sided 95 % interval in confirmation."""
    clean = st.ratios(cells, stage, arm, "clean")
    upper = interval(clean, 0.90)[2] if stage == "confirm" else -math.inf
    broken = []
    if float(np.mean(clean)) > st.CLEAN_BOUND:
        broken.append("clean error above 1.05")
    elif not upper <= st.CLEAN_BOUND:
        broken.append(f"clean error not shown to be below 1.05 (one-sided upper end {math.exp(upper):.3f})")
    if st.slope_of(cells, stage, arm) < st.SLOPE_BOUND:
        broken.append(f"slope below {st.SLOPE_BOUND}")
    return "; ".join(broken) or MET


def tests(cells: Cells, failed: Collection[Cell]) -> dict[tuple[str, str], Test]:
    """(arm, pipelines) -> test. Always Holm over as many hypotheses as the plan has.

    An arm with a failed cell, or with one value only, has p = 1.
    """
    hurt = {c.arm for c in failed if c.stage == "confirm"}
    keys = [(arm, what) for arm in confirmed_arms(cells, failed) for what in PRIMARY]
    values = [st.ratios(cells, "confirm", arm, what) for arm, what in keys]
    p = [1.0 if arm in hurt or len(v) < 2 else st.p_value(v) for (arm, _), v in zip(keys, values, strict=True)]
    missing = [1.0] * (len(PRIMARY) * CONFIRMED_ARMS - len(p))
    rejected = st.holm([*p, *missing])[: len(p)]
    return dict(zip(keys, map(Test, values, p, rejected), strict=True))


def judged(cells: Cells, failed: Collection[Cell], arm: str) -> str:
    """Whether a confirmed arm is a success by PLAN.md, or what it lacks."""
    found = tests(cells, failed)
    lacks = [f"seed {c.seed} failed" for c in failed if c.stage == "confirm" and c.arm == arm]
    for what in PRIMARY:
        test = found[arm, what]
        _, low, high = interval(test.values)
        if not (high < 0 and test.rejected):
            lacks.append(f"no smaller gap shown, {what} ({math.exp(low):.2f} to {math.exp(high):.2f})")
        _, low, high = interval(st.ratios(cells, "confirm", arm, what, against=RECIPE))
        if not high < 0:
            lacks.append(f"not shown better than robust, {what} ({math.exp(low):.2f} to {math.exp(high):.2f})")
    said = bounds(cells, "confirm", arm)
    lacks += [] if said == MET else [said]
    return f"no success: {'; '.join(lacks)}" if lacks else "success"


def halved(cells: Cells, arm: str) -> bool:
    """The plan's goal: mean gap at most half of plain's, declared and unseen, within the bounds."""
    means = [float(np.mean(st.ratios(cells, "confirm", arm, what))) for what in PRIMARY]
    return max(means) <= math.log(0.5) and bounds(cells, "confirm", arm) == MET


def recipe(cells: Cells, failed: Collection[Cell]) -> tuple[str, bool]:
    """(what `--recipe deployable` is by the plan's rule, whether an arm within the bounds was found).

    Of `robust` and the confirmed arms those within the bounds and without a failed cell, and of these the one with the
    smallest mean of the log ratios on declared and unseen pipelines; `robust` before confirmation is complete.
    """
    if not complete(cells, failed):
        return RECIPE, False
    hurt = {c.arm for c in failed if c.stage == "confirm"}
    arms = [a for a in (RECIPE, *confirmed_arms(cells, failed)) if a not in hurt]
    fit = [a for a in arms if bounds(cells, "confirm", a) == MET]

    def gap(arm: str) -> float:
        return sum(float(np.mean(st.ratios(cells, "confirm", arm, what))) for what in PRIMARY)

    return (min(fit, key=gap), True) if fit else (RECIPE, False)


def detectable_ratios(cells: Cells) -> dict[str, tuple[float, float, float, float]]:
    """Of declared and unseen, foretold: (paired sd of repair, ratio that 8 seeds find; sd from scratch, ratio).

    The first is pooled over the confirmable arms, which share `plain` of three starts: some two degrees of freedom. The
    second is sqrt 2 times the sd of the starts' own log gap, as if pairing by seed were worth nothing.
    """
    found = {}
    level = 0.05 / (len(PRIMARY) * CONFIRMED_ARMS)
    for what in PRIMARY:
        groups = [v for a in ARMS if a.confirmable and len(v := st.ratios(cells, "screen", a.name, what)) > 1]
        starts = [k for c, k in cells.items() if (c.stage, c.arm) == ("screen", "start")]
        if not groups or len(starts) < 2:
            continue
        freedom = sum(len(v) - 1 for v in groups)
        paired = math.sqrt(sum((len(v) - 1) * float(np.var(v, ddof=1)) for v in groups) / freedom)
        own = [st.MEASURES[what](k, starts[0]) for k in starts]
        alone = math.sqrt(2) * float(np.std(own, ddof=1))
        least = [math.exp(-st.detectable(sd, len(CONFIRM_SEEDS), level)) for sd in (paired, alone)]
        found[what] = (paired, least[0], alone, least[1])
    return found
