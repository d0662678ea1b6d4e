"""Statistics that no other line dilutes: of each track and band by itself, the worst of them being the case's.

Pooled over lines and bands, one line that is bowed by 2 m for one second of thirty has a p99 of 2 cm. So a quantile,
mean or share is of one track in one band where that has MIN_VALUES values, and of all shorter tracks of a band
together: the worst p99 of many short tracks is mostly chance.

`sustained` is the largest value that a line holds for longer than `hold_s` on end: it passes a limit exactly where the
line is above it for longer.
"""

from __future__ import annotations

import math

import numpy as np
import polars as pl
from numpy.typing import NDArray

from harness.run.facts import RunFacts
from harness.run.question import Question
from harness.run.stretches import NO_ROW, Column, Floats, Ints, Stretches, worst_of_parts

__all__ = ["MIN_VALUES", "QUANTILES", "group_statistic", "is_by_track", "of_groups"]

MIN_VALUES = 100
QUANTILES = {"p1": 0.01, "p5": 0.05, "p50": 0.5, "p95": 0.95, "p99": 0.99}

Groups = tuple[Floats, Ints]
"""Of each stretch the number of the group that it stands for and the group's worst row; NaN and NO_ROW: for none."""


def is_by_track(question: Question) -> bool:
    """Whether the statistic is of every track and band by itself."""
    averaged = question.statistic in (*QUANTILES, "mean", "share", "sustained")
    return averaged and question.measure.table in ("line_metrics", "series_metrics")


def group_statistic(question: Question, value: pl.Expr) -> pl.Expr:
    """A quantile, or the mean, of a group of values."""
    if question.statistic in QUANTILES:
        return value.quantile(QUANTILES[question.statistic], interpolation="linear")
    return value.mean()


def of_groups(question: Question, stretches: Stretches, column: Column, facts: RunFacts) -> Groups:
    """The number of every group of rows, computed once for all questions that ask for it.

    Args:
        question: measure and statistic.
        stretches: rows of whole cases.
        column: the measure's.
        facts: frame rates.
    """
    asked = (question.statistic, question.hold_s)
    if asked not in column.cache:
        if question.statistic == "sustained":
            column.cache[asked] = _sustained(question, stretches, column, facts)
        else:
            column.cache[asked] = _by_track(question, stretches, column)
    found: Groups = column.cache[asked]
    return found


def _by_track(question: Question, stretches: Stretches, column: Column) -> Groups:
    """A group is a stretch with MIN_VALUES values, or all shorter ones of a place: the first of them stands for it."""
    rows = pl.DataFrame({"value": column.series, "group": stretches.in_table_order(_stand_ins(stretches, column))})
    number = pl.col("value").fill_nan(None)
    worst = number.arg_max() if column.higher_is_worse else number.arg_min()
    known = rows.with_row_index("row").filter(pl.col("value").is_not_null())
    groups = known.group_by("group", maintain_order=True).agg(
        group_statistic(question, pl.col("value")).alias("statistic"), pl.col("row").get(worst)
    )
    numbers, worst_rows = np.full(len(stretches), np.nan), np.full(len(stretches), NO_ROW)
    numbers[groups["group"].to_numpy()] = groups["statistic"].to_numpy()
    worst_rows[groups["group"].to_numpy()] = groups["row"].cast(pl.Int64).fill_null(NO_ROW).to_numpy()
    return numbers, worst_rows


def _stand_ins(stretches: Stretches, column: Column) -> Ints:
    """Of each stretch the one that stands for its group."""
    own = np.arange(len(stretches))
    short = np.flatnonzero(column.counts < MIN_VALUES)
    first = np.full(int(stretches.places.max()) + 1, NO_ROW)
    np.minimum.at(first, stretches.places[short], short)
    own[short] = first[stretches.places[short]]
    return own


def _sustained(question: Question, stretches: Stretches, column: Column, facts: RunFacts) -> Groups:
    """The best-held value of every stretch; the best of all where a track does not live long enough to hold any."""
    best = question.measure.best
    held = np.full(len(stretches.order), best)
    frames = stretches.ordered(stretches.rows["frame"])
    windows = _needed_frames(question.hold_s, stretches, facts)
    needed = np.repeat(windows, stretches.lengths)
    for window in np.unique(windows).tolist():
        lowest, on_end = _held(column.numbers, frames, stretches.of_rows, window)
        counts = on_end & ~np.isnan(lowest) & (needed == window)
        held[counts] = lowest[counts]
    held[~column.known] = np.nan
    return worst_of_parts(held, stretches.order, stretches.starts, higher=True)


def _needed_frames(hold_s: float, stretches: Stretches, facts: RunFacts) -> Ints:
    """Of each stretch, the fewest frames on end that last longer than that."""
    rates = {case: facts.cases[case].fps if case in facts.cases else 0.0 for case in stretches.keys["case"].unique()}
    return np.array([math.floor(hold_s * rates[case] + 1e-9) + 1 for case in stretches.keys["case"]])


def _held(values: Floats, frames: Ints, stretch: Ints, window: int) -> tuple[Floats, NDArray[np.bool_]]:
    """The lowest of each value and the `window` - 1 before it; whether these are frames on end of one stretch."""
    lowest, reach = values.copy(), 1
    while reach < window:
        step = min(reach, window - reach)
        shifted = np.full_like(lowest, np.nan)
        shifted[step:] = lowest[:-step]
        lowest, reach = np.minimum(lowest, shifted), reach + step
    on_end = np.zeros(len(values), np.bool_)
    back = window - 1
    last, first = slice(back, None), slice(None, len(values) - back)
    on_end[last] = (frames[last] - frames[first] == back) & (stretch[last] == stretch[first])
    return lowest, on_end
