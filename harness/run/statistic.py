"""From tables to one number per case and rung: what a question asks for, how much it rests on, and its worst row.

Nothing is judged here. `compared` counts the values a number was made of, and `unanswered` says why they are not all
that there should be (harness/run/unanswered.py), so that nothing can pass on values that nobody has. Quantiles and
means of lines are those of the worst track and band (harness/run/by_track.py). All questions are answered in one
reading of each table, a few whole cases at a time (harness/run/stretches.py).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from harness.run.by_track import group_statistic, is_by_track, of_groups
from harness.run.facts import RunFacts, RunLike
from harness.run.question import Question
from harness.run.rows import Key, against, compared_frames, in_batches, of_candidate, rows_about, rows_of
from harness.run.stretches import KEYS, NO_ROW, Column, Floats, Ints, Stretches, worst_of_parts
from harness.run.tables import TABLES
from harness.run.unanswered import COVERING, unanswered

__all__ = ["EPISODE_GAP_S", "Asked", "Measured", "Worst", "answer", "answers"]

EPISODE_GAP_S = 2.0  # events of a case that are no further apart are one episode

_PLACES = ("frame", "frame_start", "frame_end", "track", "band", "station", "output", "signal", "probe")

Chosen = NDArray[np.bool_]
"""Which stretches a question is about."""


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


@dataclass(frozen=True)
class Asked:
    """A question, and the rungs it is asked of, each with the rung it is compared with."""

    question: Question
    references: Mapping[str, str]

    @property
    def compared_with(self) -> Mapping[str, str] | None:
        """The references; None where its table compares with none."""
        return self.references if self.question.measure.has_reference else None

    @property
    def column(self) -> str:
        """The column whose values answer it; of an event, that which shows that one looked for it."""
        return self.question.measure.evidence[1] if self.question.measure.evidence else self.question.measure.column


@dataclass(frozen=True, slots=True)
class _Looked:
    """Where one looked for an event: values that could have been one, and why they are too few."""

    compared: int
    unanswered: str


def answer(run: RunLike, facts: RunFacts, question: Question, references: Mapping[str, str]) -> dict[Key, Measured]:
    """The number that a question asks for, of every case and rung that has rows.

    Args:
        run: the run.
        facts: what is known of it.
        question: measure, statistic, bands, outputs.
        references: the rungs to look at, each with the rung it is compared with.
    """
    (found,) = answers(run, facts, [Asked(question, references)])
    return found


def answers(run: RunLike, facts: RunFacts, asked: Sequence[Asked]) -> list[dict[Key, Measured]]:
    """The same for several questions, in their order; each table is read once for all of them."""
    found: list[dict[Key, Any]] = [{} for _ in asked]
    timed = any(a.question.statistic == "rate_per_min" or a.question.measure.kind == "event" for a in asked)
    frames = compared_frames(run) if timed else {}
    for table in dict.fromkeys(a.question.answers_in for a in asked):
        places = [n for n, a in enumerate(asked) if a.question.answers_in == table]
        for stretches in _read(run, facts, table, [asked[n] for n in places]):
            chosen = _chosen(stretches, facts, table, [asked[n] for n in places])
            for n, about in zip(places, chosen, strict=True):
                found[n] |= _of_stretches(stretches, asked[n], about, facts, frames)
    return [
        _events(run, facts, a, looked, frames) if a.question.measure.kind == "event" else looked
        for a, looked in zip(asked, found, strict=True)
    ]


def _read(run: RunLike, facts: RunFacts, table: str, asked: Sequence[Asked]) -> Iterable[Stretches]:
    """The rows that any of the questions is about, a few cases at a time."""
    rungs = list(dict.fromkeys(rung for a in asked for rung in a.references))
    columns = {a.column for a in asked} | {*KEYS, *_PLACES, "matched", "reference_run_s", COVERING.get(table, "")}
    rows = run.table(table).filter(pl.col("rung").is_in(rungs))
    for batch in in_batches(rows.select(c for c in TABLES[table] if c in columns), facts, rungs):
        yield Stretches(batch)


def _chosen(stretches: Stretches, facts: RunFacts, table: str, asked: Sequence[Asked]) -> list[Chosen]:
    """The stretches that each question is about."""
    about = [against(a.references, a.compared_with) & rows_about(a.question, facts, table) for a in asked]
    found = stretches.keys.select(e.alias(str(n)) for n, e in enumerate(about))
    return [found[str(n)].fill_null(False).to_numpy() for n in range(len(asked))]


def _of_stretches(
    stretches: Stretches, asked: Asked, about: Chosen, facts: RunFacts, frames: Mapping[tuple[str, str, str], int]
) -> dict[Key, Any]:
    """What one question finds in a few whole cases: `Measured`, or of an event where one looked for it."""
    if not about.any():
        return {}
    question, chosen = asked.question, np.flatnonzero(about)
    parts = _Parts(chosen, np.flatnonzero(np.append(True, np.diff(stretches.cases[chosen]) != 0)))
    keys = [*stretches.keys[chosen[parts.starts]].select("rung", "case").iter_rows()]
    covering = question.answers_in in COVERING
    known = stretches.known(asked.column)
    open_parts = unanswered(question, stretches, about, known, facts) if covering else {}
    if question.measure.kind == "event":
        counts = parts.sum(stretches.sums(known.astype(np.int64)))
        return {k: _Looked(n, open_parts.get(k, "")) for k, n in zip(keys, counts.tolist(), strict=True) if n}
    found = _measured(stretches, question, parts, about, facts)
    return {
        key: replace(_timed(one, asked, key, facts, frames), unanswered=open_parts.get(key, ""))
        for key, one in zip(keys, found, strict=True)
    }


@dataclass(frozen=True)
class _Parts:
    """The stretches that a question is about, by case and rung.

    Attributes:
        chosen: stretches.
        starts: where in `chosen` each case and rung begins.
    """

    chosen: Ints
    starts: Ints

    def sum(self, of_stretches: NDArray[Any]) -> NDArray[Any]:
        """Sum of each case and rung."""
        return np.add.reduceat(of_stretches[self.chosen], self.starts)

    def worst(self, of_stretches: tuple[Floats, Ints], *, higher: bool) -> tuple[Floats, Ints]:
        """Worst value of each case and rung, and its row."""
        values, rows = of_stretches
        return worst_of_parts(values[self.chosen], rows[self.chosen], self.starts, higher=higher)


def _measured(
    stretches: Stretches, question: Question, parts: _Parts, about: Chosen, facts: RunFacts
) -> list[Measured]:
    """What a question finds in each case and rung; of a rate, the sum."""
    measure = question.measure
    column = stretches.column(measure.column, signed=measure.signed, higher_is_worse=measure.higher_is_worse)
    if is_by_track(question):
        numbers, rows = parts.worst(of_groups(question, stretches, column, facts), higher=measure.higher_is_worse)
    else:
        worst, rows = parts.worst(column.worst, higher=measure.higher_is_worse)
        numbers = worst if question.statistic in ("max", "min") else _pooled(stretches, question, column, parts, about)
    columns = (numbers.tolist(), parts.sum(column.counts).tolist(), parts.sum(column.nonfinite).tolist())
    places = _worst_rows(stretches, column, rows)
    return [
        _one(question, number, compared, nonfinite, place)
        for number, compared, nonfinite, place in zip(*columns, places, strict=True)
    ]


def _one(question: Question, number: float, compared: int, nonfinite: int, worst: Worst | None) -> Measured:
    if compared == 0 or (question.statistic == "share" and math.isnan(number)):
        return Measured(math.nan, 0, nonfinite)
    return Measured(number, compared, nonfinite, worst)


def _pooled(stretches: Stretches, question: Question, column: Column, parts: _Parts, about: Chosen) -> Floats:
    """One number from all values of a case and rung; NaN where there is none."""
    if question.statistic in ("count", "rate_per_min"):
        summed: Floats = parts.sum(column.sums)
        return summed
    if question.statistic == "share" and question.measure.kind == "counter":
        whole = (column.series + stretches.rows["matched"]).fill_null(0.0)
        with np.errstate(invalid="ignore"):
            share: Floats = parts.sum(column.sums) / parts.sum(stretches.sums(stretches.ordered(whole)))
        return share
    rows = stretches.in_table_order(np.where(about, stretches.cases, -1))
    found = (
        pl.DataFrame({"value": column.series, "part": rows})
        .filter(pl.col("part") >= 0)
        .group_by("part", maintain_order=True)
        .agg(group_statistic(question, pl.col("value")))
        .sort("part")
    )
    numbers: Floats = found["value"].cast(pl.Float64).fill_null(math.nan).to_numpy()
    return numbers


def _worst_rows(stretches: Stretches, column: Column, rows: Ints) -> list[Worst | None]:
    """Where the worst values are; None without values, or in a table that has one row a case."""
    there = pl.Series(np.where(rows == NO_ROW, 0, rows))
    values = column.series.gather(there).to_list()
    names = [name for name in _PLACES if name in stretches.rows.columns]
    places = zip(*(stretches.rows[name].gather(there).to_list() for name in names), strict=True)
    found = places if names else [()] * len(rows)
    return [
        _worst(value, dict(zip(names, place, strict=True))) if row != NO_ROW else None
        for row, value, place in zip(rows.tolist(), values, found, strict=True)
    ]


def _worst(value: float | None, row: Mapping[str, Any]) -> Worst | None:
    places = {name: row.get(name) for name in ("frame_end", "track", "band", "station", "output", "signal", "probe")}
    places["frame"] = row.get("frame", row.get("frame_start"))
    if value is None or all(place is None for place in places.values()):
        return None
    return Worst(float(value), **places)


def _timed(
    one: Measured, asked: Asked, key: Key, facts: RunFacts, frames: Mapping[tuple[str, str, str], int]
) -> Measured:
    """A sum as a rate, where that is asked for."""
    if asked.question.statistic != "rate_per_min" or one.compared == 0:
        return one
    minutes = _minutes(asked, key, facts, frames)
    return replace(one, value=one.value / minutes if minutes > 0 else math.nan)


def _minutes(asked: Asked, key: Key, facts: RunFacts, frames: Mapping[tuple[str, str, str], int]) -> float:
    """Compared time of a case in minutes."""
    rung, case = key[0], facts.cases.get(key[1])
    compared = frames.get((rung, asked.references[rung], key[1]), 0)
    return compared / case.fps / 60 if case is not None and case.fps > 0 else 0.0


def _events(
    run: RunLike,
    facts: RunFacts,
    asked: Asked,
    looked: Mapping[Key, _Looked],
    frames: Mapping[tuple[str, str, str], int],
) -> dict[Key, Measured]:
    """Events of one kind; a case without any counts 0 only if something looked for them there."""
    question = asked.question
    rows = rows_of(run, facts, question, "events", asked.references).filter(
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
    return {
        key: replace(
            _event_number(question, events.get(key), one.compared, facts, _minutes(asked, key, facts, frames), key),
            unanswered=one.unanswered,
        )
        for key, one in looked.items()
    }


def _event_number(
    question: Question, row: Mapping[str, Any] | None, compared: int, facts: RunFacts, minutes: float, key: Key
) -> Measured:
    case = facts.cases.get(key[1])
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
    return Measured(number, compared, int(row["nonfinite"] or 0), _worst(row["worst_value"], row))


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
