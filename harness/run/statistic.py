"""From tables to one number per case and rung: what a question asks for, how much it rests on, and its worst row.

Nothing is judged here. `compared` counts the values a number was made of, and `unanswered` says why they are not all
that there should be (harness/run/unanswered.py), so that nothing can pass on values that nobody has. Quantiles and
means of lines are those of the worst track and band (harness/run/by_track.py).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import polars as pl

from harness.run.by_track import QUANTILES, group_statistic, is_by_track, worst_groups
from harness.run.facts import RunFacts, RunLike
from harness.run.question import Question
from harness.run.rows import Key, against, compared_frames, in_batches, of_candidate, rows_about, rows_of
from harness.run.tables import TABLES
from harness.run.unanswered import COVERING, unanswered

__all__ = ["EPISODE_GAP_S", "Measured", "Worst", "answer", "answers"]

EPISODE_GAP_S = 2.0  # events of a case that are no further apart are one episode

_CASE = ("rung", "case")
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
        unanswered: why the number leaves out too much of what the reference has; empty where it does not.
    """

    value: float
    compared: int
    nonfinite: int = 0
    worst: Worst | None = None
    unanswered: str = ""


def answer(
    run: RunLike, facts: RunFacts, question: Question, rungs: Sequence[str], references: Mapping[str, str]
) -> dict[Key, Measured]:
    """The number that a question asks for, of every case and rung that has rows.

    Args:
        run: the run.
        facts: what is known of it.
        question: measure, statistic, bands, outputs.
        rungs: rungs to look at.
        references: the rung each of them is compared with.
    """
    (found,) = answers(run, facts, [question], rungs, references)
    return found


def answers(
    run: RunLike, facts: RunFacts, questions: Sequence[Question], rungs: Sequence[str], references: Mapping[str, str]
) -> list[dict[Key, Measured]]:
    """The same for several questions, in their order; each table is read once for all of them."""
    found: list[dict[Key, Measured]] = [{} for _ in questions]
    timed = any(q.statistic == "rate_per_min" for q in questions)
    frames = compared_frames(run, rungs, references) if timed else {}
    tables: dict[tuple[str, bool], list[int]] = {}
    for place, question in enumerate(questions):
        if question.measure.kind == "event":
            found[place] = _events(run, facts, question, rungs, references)
        else:
            tables.setdefault((question.measure.table, question.measure.has_reference), []).append(place)
    for (table, compared), places in tables.items():
        rows = against(run.table(table), rungs, references if compared else None)
        wanted = {place: questions[place] for place in places}
        rows = rows.select(*_keys(table), *(e for n, q in wanted.items() for e in _values(q, facts, n)))
        for batch in in_batches(rows, facts):
            for n, q in wanted.items():
                for key, measured in _of_batch(batch, q, n, facts, frames).items():
                    found[n][key] = measured
    return found


def _of_batch(
    batch: pl.DataFrame, question: Question, n: int, facts: RunFacts, frames: Mapping[Key, int]
) -> dict[Key, Measured]:
    """What question n finds in a few whole cases."""
    about = batch.filter(pl.col(f"about{n}"))
    rows = about.group_by(*_CASE).agg(_aggregates(question, n))
    if is_by_track(question):
        rows = _of_worst_groups(rows, about, question, n, facts)
    open_parts = unanswered(question, about, f"value{n}", facts) if question.measure.table in COVERING else {}
    return {
        (key := (row["rung"], row["case"])): replace(
            _measured(row, question, n, _minutes(facts, frames, key)), unanswered=open_parts.get(key, "")
        )
        for row in rows.iter_rows(named=True)
    }


def _of_worst_groups(
    rows: pl.DataFrame, about: pl.DataFrame, question: Question, n: int, facts: RunFacts
) -> pl.DataFrame:
    """The statistic and the worst row of each case are those of its worst track and band."""
    worst = worst_groups(question, about, f"value{n}", facts).rename({"statistic": f"statistic{n}"})
    names = [c for c in _PLACES if c in about.columns]
    there = about.with_row_index("row").select("row", pl.col(f"value{n}").alias(f"worst_value{n}"),
                                               *(pl.col(c).alias(f"{c}{n}") for c in names))  # fmt: skip
    own = worst.join(there, on="row", how="left").drop("row")
    return rows.drop(c for c in own.columns if c not in _CASE and c in rows.columns).join(own, on=_CASE, how="left")


def _keys(table: str) -> list[str]:
    wanted = (*_PLACES, "matched", *COVERING.get(table, ()))
    return [*_CASE, *(c for c in TABLES[table] if c in wanted)]


def _values(question: Question, facts: RunFacts, n: int) -> list[pl.Expr]:
    """`about{n}`: whether question n is about a row; `value{n}`: the measure's column there, else null."""
    value = pl.col(question.measure.column).cast(pl.Float64)
    value = value.abs() if question.measure.signed else value
    about = rows_about(question, facts, question.measure.table)
    return [about.alias(f"about{n}"), pl.when(about).then(value).alias(f"value{n}")]


def _aggregates(question: Question, n: int) -> list[pl.Expr]:
    """Everything `_measured` needs of question n, as one aggregation."""
    higher = question.measure.higher_is_worse
    value = pl.col(f"value{n}")
    bad = value.is_nan() | (value == (math.inf if higher else -math.inf))
    known = value.fill_nan(None)
    worst = known.arg_max() if higher else known.arg_min()
    places = [pl.col(c).get(worst).alias(f"{c}{n}") for c in _PLACES if c in TABLES[question.measure.table]]
    return [
        _statistic(question, value).alias(f"statistic{n}"),
        value.count().alias(f"compared{n}"),
        bad.sum().alias(f"nonfinite{n}"),
        value.get(worst).alias(f"worst_value{n}"),
        *places,
    ]


def _statistic(question: Question, value: pl.Expr) -> pl.Expr:
    """One number from the values of a case; null where there is none."""
    name = question.statistic
    if name in QUANTILES or is_by_track(question):
        return group_statistic(question, value)
    if name == "share" and question.measure.kind == "counter":
        return value.sum() / (value + pl.col("matched")).sum()
    if name in ("count", "rate_per_min"):
        return value.sum()
    return {"max": value.max(), "min": value.min(), "mean": value.mean(), "share": value.mean()}[name]


def _measured(row: Mapping[str, Any], question: Question, n: int, minutes: float) -> Measured:
    compared, number = int(row[f"compared{n}"]), row[f"statistic{n}"]
    nonfinite = int(row[f"nonfinite{n}"] or 0)
    if compared == 0 or number is None or (question.statistic == "share" and math.isnan(number)):
        return Measured(math.nan, 0, nonfinite)
    if question.statistic == "rate_per_min":
        number = number / minutes if minutes > 0 else math.nan
    return Measured(float(number), compared, nonfinite, _worst(row, n))


def _worst(row: Mapping[str, Any], n: int | str = "") -> Worst | None:
    """Where the worst value is; None without values, or in a table that has one row a case."""
    names = ("frame_end", "track", "band", "station", "output", "signal", "probe")
    places = {name: row.get(f"{name}{n}") for name in names}
    places["frame"] = row.get(f"frame{n}", row.get(f"frame_start{n}"))
    if row[f"worst_value{n}"] is None or all(place is None for place in places.values()):
        return None
    return Worst(float(row[f"worst_value{n}"]), **places)


def _minutes(facts: RunFacts, frames: Mapping[Key, int], key: Key) -> float:
    """Compared time of a case in minutes."""
    case = facts.cases.get(key[1])
    return frames.get(key, 0) / case.fps / 60 if case is not None and case.fps > 0 else 0.0


def _events(
    run: RunLike, facts: RunFacts, question: Question, rungs: Sequence[str], references: Mapping[str, str]
) -> dict[Key, Measured]:
    """Events of one kind; a case without any counts 0 only if something looked for them there."""
    assert question.measure.evidence is not None
    table, column = question.measure.evidence
    looked = rows_of(run, facts, question, table, rungs, references)
    seen = looked.filter(pl.col(column).is_not_null())
    evidence = seen.group_by("rung", "case").agg(compared=pl.len()).collect(engine="streaming")
    open_parts = _unlooked(looked, question, facts)
    rows = rows_of(run, facts, question, "events", rungs, references).filter(
        pl.col("kind") == question.measure.measured, of_candidate()
    )
    found = rows.group_by("rung", "case").agg(
        pl.len().alias("count"),
        pl.col("value").max().alias("worst_value"),
        *(pl.col(n).get(pl.col("value").arg_max()).alias(n) for n in ("frame_start", "frame_end", "track", "band")),
        (~pl.col("value").is_finite()).sum().alias("nonfinite"),
        pl.struct("frame_start", "frame_end").alias("spans"),
    )
    events = {(r["rung"], r["case"]): r for r in found.collect(engine="streaming").iter_rows(named=True)}
    frames = compared_frames(run, rungs, references)
    return {
        (rung, case): replace(
            _event_number(question, events.get((rung, case)), count, facts, frames, (rung, case)),
            unanswered=open_parts.get((rung, case), ""),
        )
        for rung, case, count in evidence.iter_rows()
    }


def _unlooked(looked: pl.LazyFrame, question: Question, facts: RunFacts) -> dict[Key, str]:
    """Where nothing looked for an event that should have."""
    assert question.measure.evidence is not None
    table, column = question.measure.evidence
    if table not in COVERING:
        return {}
    found: dict[Key, str] = {}
    place = [c for c in ("band", "station") if c in TABLES[table]]
    wanted = looked.select(*_CASE, "track", *place, *COVERING[table], pl.col(column).alias("value"))
    for batch in in_batches(wanted, facts):
        found |= unanswered(question, batch, "value", facts)
    return found


def _event_number(
    question: Question,
    row: Mapping[str, Any] | None,
    compared: int,
    facts: RunFacts,
    frames: Mapping[Key, int],
    key: Key,
) -> Measured:
    minutes, case = _minutes(facts, frames, key), facts.cases.get(key[1])
    fps = case.fps if case is not None and case.fps > 0 else math.nan
    if row is None:
        return Measured(0.0, compared)
    spans = [(s["frame_start"], s["frame_end"]) for s in row["spans"]]
    number = float(row["worst_value"] if question.statistic == "max" else row["count"])
    if question.statistic == "seconds":
        number = sum(b - a + 1 for a, b in _joined(spans, 0)) / fps
    elif question.statistic == "episodes_per_h":
        number = float(len(_joined(spans, EPISODE_GAP_S * fps)))
    if question.statistic in ("rate_per_min", "episodes_per_h"):
        number = number / minutes if minutes > 0 else math.nan
    return Measured(number, compared, int(row["nonfinite"] or 0), _worst(row))


def _joined(spans: Iterable[tuple[int, int]], gap: float) -> list[tuple[int, int]]:
    """Stretches of frames of all lines and stations as one, where at most `gap` frames lie between them.

    One cause swings every line at every station, so that events are no count of causes.
    """
    joined: list[tuple[int, int]] = []
    for first, last in sorted(spans):
        if joined and not first - joined[-1][1] - 1 > gap:
            joined[-1] = (joined[-1][0], max(joined[-1][1], last))
        else:
            joined.append((first, last))
    return joined
