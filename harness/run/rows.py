"""Choosing the rows of the run tables that a question is about, and reading them a few cases at a time.

The tables are sorted by case, so a range of cases is a stretch of the file: what is in memory is bounded by
`BATCH_FRAMES` frames or one case, whichever is more, however long the run is.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from fnmatch import translate

import polars as pl

from harness.run.facts import RunFacts, RunLike
from harness.run.question import Question
from harness.run.tables import BANDS, TABLES

__all__ = [
    "Key",
    "against",
    "at_stations",
    "compared_frames",
    "in_batches",
    "nonfinite_counts",
    "of_candidate",
    "rows_about",
    "rows_of",
]

Key = tuple[str, str]
"""(rung, case)"""

BATCH_FRAMES = 5_000
LONG_CASE_FRAMES = 20_000


def in_batches(rows: pl.LazyFrame, facts: RunFacts, rungs: Sequence[str]) -> Iterator[pl.DataFrame]:
    """The rows in the table's order, whole cases at a time; of a case that is long by itself, one rung at a time."""
    for first, last in _ranges(facts):
        stretch = rows.filter(pl.col("case").is_between(pl.lit(first), pl.lit(last)))
        long = first == last and facts.cases[first].frames > LONG_CASE_FRAMES
        for part in [stretch.filter(pl.col("rung") == rung) for rung in rungs] if long else [stretch]:
            batch = part.collect()
            if batch.height:
                yield batch


def _ranges(facts: RunFacts) -> Iterator[tuple[str, str]]:
    """(first, last) case of each batch."""
    batch: list[str] = []
    frames = 0
    for case in sorted(facts.cases.values(), key=lambda c: c.id.encode()):
        if batch and frames + case.frames > BATCH_FRAMES:
            yield batch[0], batch[-1]
            batch, frames = [], 0
        batch.append(case.id)
        frames += case.frames
    if batch:
        yield batch[0], batch[-1]


def compared_frames(run: RunLike) -> dict[tuple[str, str, str], int]:
    """Frames on which a rung was compared with another, by (rung, reference, case)."""
    rows = run.table("frame_metrics").group_by("rung", "reference", "case").agg(pl.len())
    return {(rung, reference, case): n for rung, reference, case, n in rows.collect(engine="streaming").iter_rows()}


def nonfinite_counts(run: RunLike) -> dict[Key, int]:
    """Most outputs of one frame that are not finite, by (rung, case); only where there are any."""
    counts: dict[Key, int] = {}
    for table in ("frame_metrics", "tensor_metrics"):
        rows = run.table(table).filter(pl.col("nonfinite") > 0)
        summed = rows.group_by("rung", "case").agg(pl.col("nonfinite").max()).collect(engine="streaming")
        for rung, case, count in summed.iter_rows():
            counts[rung, case] = max(counts.get((rung, case), 0), count)
    return counts


def of_candidate() -> pl.Expr:
    """Events that the candidate is blamed for."""
    return pl.col("owner") == "candidate"


def against(rungs: Iterable[str], references: Mapping[str, str] | None) -> pl.Expr:
    """Rows of these rungs against their references; of the rungs alone where the table compares with none."""
    if references is None:
        return pl.col("rung").is_in(list(rungs))
    wanted = [(pl.col("rung") == r) & (pl.col("reference") == references[r]) for r in rungs]
    return pl.any_horizontal(wanted) if wanted else pl.lit(False)


def rows_of(
    run: RunLike, facts: RunFacts, question: Question, table: str, references: Mapping[str, str]
) -> pl.LazyFrame:
    """Rows of a table that the question is about."""
    compared_with = references if question.measure.has_reference else None
    return run.table(table).filter(against(references, compared_with), rows_about(question, facts, table))


def rows_about(question: Question, facts: RunFacts, table: str) -> pl.Expr:
    """Which rows of a table the question is about, whatever the rung."""
    spec, chosen = question.measure, []
    if question.band and table == "series_metrics":
        chosen.append(_at_stations(facts, question.band))
    elif question.band and "band" in TABLES[table]:
        chosen.append(pl.col("band").is_in(list(question.band)))
    if spec.per_line and table == "line_metrics":
        chosen.append(pl.col("band") == BANDS[0])  # such values stand in the rows of every band
    if spec.kind == "floor":
        chosen.append(pl.col("metric") == spec.measured)
    if question.output != "*":
        chosen.append(pl.col(spec.output_column).str.contains(_regex(question.output)))
    return pl.all_horizontal(chosen) if chosen else pl.lit(True)


def _at_stations(facts: RunFacts, bands: Sequence[str]) -> pl.Expr:
    """The stations of the time series of these bands."""
    wanted = facts.grid.series_stations_of([BANDS.index(band) for band in bands])
    return at_stations(wanted) if wanted else pl.lit(False)


def at_stations(stations: Sequence[float]) -> pl.Expr:
    """Rows at one of these stations."""
    return pl.any_horizontal([(pl.col("station") - s).abs() < 1e-6 * max(1.0, abs(s)) for s in stations])


def _regex(pattern: str) -> str:
    return translate(pattern).replace("\\Z", "\\z")
