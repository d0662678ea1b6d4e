"""Statistics that no other line dilutes: of each track and band by itself, the worst of them being the case's.

Pooled over lines and bands, one line that is bowed by 2 m for one second of thirty has a p99 of 2 cm. So a quantile,
mean or share is of one track in one band where that has MIN_VALUES values, and of all shorter tracks of a band
together: the worst p99 of many short tracks is mostly chance.

`sustained` is the largest value that a line holds for longer than `hold_s` on end: it passes a limit exactly where the
line is above it for longer.
"""

from __future__ import annotations

import math

import polars as pl

from harness.run.facts import RunFacts
from harness.run.question import Question

__all__ = ["MIN_VALUES", "QUANTILES", "group_statistic", "is_by_track", "worst_groups"]

MIN_VALUES = 100
QUANTILES = {"p1": 0.01, "p5": 0.05, "p50": 0.5, "p95": 0.95, "p99": 0.99}
_CASE = ("rung", "case")


def is_by_track(question: Question) -> bool:
    """Whether the statistic is of every track and band by itself."""
    averaged = question.statistic in (*QUANTILES, "mean", "share", "sustained")
    return averaged and question.measure.table in ("line_metrics", "series_metrics")


def group_statistic(question: Question, value: pl.Expr) -> pl.Expr:
    """A quantile, or the mean, of a group of values."""
    if question.statistic in QUANTILES:
        return value.quantile(QUANTILES[question.statistic], interpolation="linear")
    return value.mean()


def worst_groups(question: Question, batch: pl.DataFrame, value: str, facts: RunFacts) -> pl.DataFrame:
    """The worst track and band of each (rung, case).

    Args:
        question: measure and statistic.
        batch: rows of whole cases; rows without a value are null in `value`.
        value: the column.
        facts: frame rates.

    Returns:
        rung, case, statistic, row: the number, and where in `batch` (sorted as given, column `row`) its worst row is.
    """
    rows = batch.with_row_index("row")
    groups = (
        _sustained(question, rows, value, facts)
        if question.statistic == "sustained"
        else _by_track(question, rows, value)
    )
    worse_first = groups.sort("statistic", descending=question.measure.higher_is_worse, nulls_last=True)
    return worse_first.group_by(*_CASE, maintain_order=True).first()


def _place(batch: pl.DataFrame) -> str:
    return "station" if "station" in batch.columns else "band"


def _by_track(question: Question, rows: pl.DataFrame, value: str) -> pl.DataFrame:
    place = _place(rows)
    known = rows.filter(pl.col(value).is_not_null())
    enough = pl.len().over(*_CASE, place, "track") >= MIN_VALUES
    number = pl.col(value).fill_nan(None)
    worst = number.arg_max() if question.measure.higher_is_worse else number.arg_min()
    own = known.with_columns(own=pl.when(enough).then("track"))
    return own.group_by(*_CASE, place, "own", maintain_order=True).agg(
        group_statistic(question, pl.col(value)).alias("statistic"), pl.col("row").get(worst)
    ).select(*_CASE, "statistic", "row")  # fmt: skip


def _sustained(question: Question, rows: pl.DataFrame, value: str, facts: RunFacts) -> pl.DataFrame:
    """The best-held value of each (rung, case); the best of all where no track lives long enough to hold any."""
    line = (*_CASE, _place(rows), "track")
    ordered = rows.sort(*line, "frame")
    parts = []
    for (case,), own in ordered.group_by("case", maintain_order=True):
        frames = _held_frames(question.hold_s, facts.cases[str(case)].fps if case in facts.cases else 0.0)
        held = pl.col(value).rolling_min(frames, min_samples=frames).over(line)
        on_end = (pl.col("frame") - pl.col("frame").shift(frames - 1).over(line)) == frames - 1
        parts.append(own.with_columns(held=pl.when(on_end).then(held).fill_null(question.measure.best)))
    if not parts:
        return rows.select(*_CASE, pl.col(value).alias("statistic"), "row")
    return pl.concat(parts).filter(pl.col(value).is_not_null()).select(*_CASE, statistic="held", row="row")


def _held_frames(hold_s: float, fps: float) -> int:
    """The fewest frames on end that last longer than that."""
    return math.floor(hold_s * fps + 1e-9) + 1
