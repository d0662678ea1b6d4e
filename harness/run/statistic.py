"""From tables to one number per case and rung: the statistic a rule asks for, how much it rests on, and its worst row.

Nothing is judged here. `compared` counts the values a number was made of, so that nothing can pass on no values.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from harness.gate.policy import Rule
from harness.run.facts import RunFacts, RunLike
from harness.run.rows import Key, compared_frames, in_batches, rows_of
from harness.run.tables import TABLES

__all__ = ["Measured", "Worst", "measure"]

_QUANTILES = {"p1": 0.01, "p5": 0.05, "p50": 0.5, "p95": 0.95, "p99": 0.99}
_PLACES = ("frame", "frame_start", "frame_end", "track", "band", "station", "output", "signal", "probe")


@dataclass(frozen=True, slots=True)
class Worst:
    """The row with the worst value of a case: where to look. Only the fields its table has are set."""

    value: float
    frame: int | None = None
    frame_end: int | None = None
    track: int | None = None
    band: str | None = None
    station: float | None = None
    output: str | None = None
    signal: str | None = None
    probe: str | None = None

    def __str__(self) -> str:
        parts = []
        if self.frame is not None:
            parts.append(f"frame {self.frame}" if self.frame_end is None else f"frames {self.frame}-{self.frame_end}")
        for name in ("track", "band", "station", "output", "signal", "probe"):
            if (value := getattr(self, name)) is not None:
                parts.append(f"{name} {value:g}" if isinstance(value, float) else f"{name} {value}")
        return ", ".join(parts)


@dataclass(frozen=True, slots=True)
class Measured:
    """The statistic of one case and rung in base units.

    Attributes:
        value: NaN where nothing was compared.
        compared: values it was made of.
        nonfinite: values that were NaN or infinite on the bad side.
        worst: worst row, None where nothing was compared or no event happened.
    """

    value: float
    compared: int
    nonfinite: int = 0
    worst: Worst | None = None


def measure(
    run: RunLike, facts: RunFacts, rule: Rule, rungs: Sequence[str], references: Mapping[str, str]
) -> dict[Key, Measured]:
    """The rule's statistic for every case and rung that has rows.

    Args:
        run: the run.
        facts: what is known of it.
        rule: metric, statistic, bands, outputs.
        rungs: rungs to look at.
        references: the rung each of them is compared with.
    """
    if rule.spec.kind == "event":
        return _events(run, facts, rule, rungs, references)
    frames = compared_frames(run, rungs, references) if rule.statistic == "rate_per_min" else {}
    rows = rows_of(run, facts, rule, rule.spec.table, rungs, references).select(*_needed(rule))
    grouped = (batch.group_by("rung", "case").agg(*_aggregates(rule)) for batch in in_batches(rows, facts))
    return {
        (row["rung"], row["case"]): _measured(row, rule, _minutes(facts, frames, (row["rung"], row["case"])))
        for found in grouped
        for row in found.iter_rows(named=True)
    }


def _needed(rule: Rule) -> list[pl.Expr | str]:
    """Columns to read; the metric as `value`."""
    value = pl.col(rule.spec.column).cast(pl.Float64)
    places = [c for c in TABLES[rule.spec.table] if c in _PLACES or c == "matched"]
    return ["rung", "case", *places, (value.abs() if rule.spec.signed else value).alias("value")]


def _aggregates(rule: Rule) -> list[pl.Expr]:
    """Everything `_measured` needs, as one aggregation of column `value`."""
    value = pl.col("value")
    bad = value.is_nan() | (value == (math.inf if rule.higher_is_worse else -math.inf))
    worst = value.fill_nan(None).arg_max() if rule.higher_is_worse else value.fill_nan(None).arg_min()
    places = [pl.col(name).get(worst).alias(name) for name in _PLACES if name in TABLES[rule.spec.table]]
    return [
        _statistic(rule).alias("statistic"),
        value.count().alias("compared"),
        bad.sum().alias("nonfinite"),
        value.get(worst).alias("worst_value"),
        *places,
    ]


def _statistic(rule: Rule) -> pl.Expr:
    """One number from the column `value` of a case; null where there is none."""
    value, name = pl.col("value"), rule.statistic
    if name in _QUANTILES:
        return value.quantile(_QUANTILES[name], interpolation="linear")
    if name == "share" and rule.spec.kind == "counter":
        return value.sum() / (value + pl.col("matched")).sum()
    if name in ("count", "rate_per_min"):
        return value.sum()
    return {"max": value.max(), "min": value.min(), "mean": value.mean(), "share": value.mean()}[name]


def _measured(row: Mapping[str, Any], rule: Rule, minutes: float) -> Measured:
    compared, number = int(row["compared"]), row["statistic"]
    if compared == 0 or number is None or (rule.statistic == "share" and math.isnan(number)):
        return Measured(math.nan, 0, int(row["nonfinite"] or 0))
    if rule.statistic == "rate_per_min":
        number = number / minutes if minutes > 0 else math.nan
    return Measured(float(number), compared, int(row["nonfinite"] or 0), _worst(row))


def _worst(row: Mapping[str, Any]) -> Worst | None:
    """Where the worst value is; None without values, or in a table that has one row a case."""
    places = {name: row.get(name) for name in ("frame_end", "track", "band", "station", "output", "signal", "probe")}
    places["frame"] = row.get("frame", row.get("frame_start"))
    if row["worst_value"] is None or all(place is None for place in places.values()):
        return None
    return Worst(float(row["worst_value"]), **places)


def _minutes(facts: RunFacts, frames: Mapping[Key, int], key: Key) -> float:
    """Compared time of a case in minutes."""
    case = facts.cases.get(key[1])
    return frames.get(key, 0) / case.fps / 60 if case is not None and case.fps > 0 else 0.0


def _events(
    run: RunLike, facts: RunFacts, rule: Rule, rungs: Sequence[str], references: Mapping[str, str]
) -> dict[Key, Measured]:
    """Events of one kind; a case without any counts 0 only if something looked for them there."""
    assert rule.spec.evidence is not None
    table, column = rule.spec.evidence
    looked = rows_of(run, facts, rule, table, rungs, references).filter(pl.col(column).is_not_null())
    evidence = looked.group_by("rung", "case").agg(compared=pl.len()).collect(engine="streaming")
    rows = rows_of(run, facts, rule, "events", rungs, references).filter(_ours(rule.spec.measured))
    found = rows.group_by("rung", "case").agg(
        pl.len().alias("statistic"),
        pl.col("value").max().alias("worst_value"),
        *(pl.col(n).get(pl.col("value").arg_max()).alias(n) for n in ("frame_start", "frame_end", "track", "band")),
        (~pl.col("value").is_finite()).sum().alias("nonfinite"),
    )
    events = {(r["rung"], r["case"]): r for r in found.collect(engine="streaming").iter_rows(named=True)}
    frames = compared_frames(run, rungs, references)
    return {
        (rung, case): _event_number(rule, events.get((rung, case)), count, _minutes(facts, frames, (rung, case)))
        for rung, case, count in evidence.iter_rows()
    }


def _event_number(rule: Rule, row: Mapping[str, Any] | None, compared: int, minutes: float) -> Measured:
    if row is None:
        return Measured(0.0, compared)
    number = float(row["worst_value"] if rule.statistic == "max" else row["statistic"])
    if rule.statistic == "rate_per_min":
        number = number / minutes if minutes > 0 else math.nan
    return Measured(number, compared, int(row["nonfinite"] or 0), _worst(row))


def _ours(kind: str) -> pl.Expr:
    """Events of the kind that the candidate can be blamed for: a swing only if it is the candidate's alone."""
    owner = pl.col("owner") == "candidate" if kind == "swing" else pl.col("owner").fill_null("") != "reference"
    return (pl.col("kind") == kind) & owner
