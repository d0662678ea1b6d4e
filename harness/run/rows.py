"""Choosing the rows of the run tables that a rule is about, and reading them a few cases at a time.

The tables are sorted by case, so a range of cases is a stretch of the file: what is in memory is bounded by
`BATCH_FRAMES` frames or one case, whichever is more, however long the run is.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from fnmatch import translate

import polars as pl

from harness.gate.policy import Rule
from harness.run.facts import RunFacts, RunLike
from harness.run.tables import BANDS

__all__ = ["Key", "compared_frames", "in_batches", "nonfinite_counts", "rows_of"]

Key = tuple[str, str]
"""(rung, case)"""

BATCH_FRAMES = 5_000


def in_batches(rows: pl.LazyFrame, facts: RunFacts) -> Iterator[pl.DataFrame]:
    """The rows in the table's order, whole cases at a time."""
    for first, last in _ranges(facts):
        batch = rows.filter(pl.col("case").is_between(pl.lit(first), pl.lit(last))).collect()
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


def compared_frames(run: RunLike, rungs: Sequence[str], references: Mapping[str, str]) -> dict[Key, int]:
    """Frames on which each rung was compared with its reference, by (rung, case)."""
    rows = _against(run.table("frame_metrics"), rungs, references)
    counted = rows.group_by("rung", "case").agg(pl.len()).collect(engine="streaming")
    return {(rung, case): frames for rung, case, frames in counted.iter_rows()}


def nonfinite_counts(run: RunLike) -> dict[Key, int]:
    """Most outputs of one frame that are not finite, by (rung, case); only where there are any."""
    counts: dict[Key, int] = {}
    for table in ("frame_metrics", "tensor_metrics"):
        rows = run.table(table).filter(pl.col("nonfinite") > 0)
        summed = rows.group_by("rung", "case").agg(pl.col("nonfinite").max()).collect(engine="streaming")
        for rung, case, count in summed.iter_rows():
            counts[rung, case] = max(counts.get((rung, case), 0), count)
    return counts


def _against(rows: pl.LazyFrame, rungs: Sequence[str], references: Mapping[str, str]) -> pl.LazyFrame:
    """Rows of these rungs against their references."""
    if not rungs:
        return rows.filter(pl.lit(False))
    wanted = [(pl.col("rung") == r) & (pl.col("reference") == references[r]) for r in rungs]
    return rows.filter(pl.any_horizontal(wanted))


def rows_of(
    run: RunLike, facts: RunFacts, rule: Rule, table: str, rungs: Sequence[str], references: Mapping[str, str]
) -> pl.LazyFrame:
    """Rows of a table that the rule is about."""
    rows = run.table(table)
    spec = rule.spec
    rows = _against(rows, rungs, references) if spec.has_reference else rows.filter(pl.col("rung").is_in(list(rungs)))
    if rule.band and table == "series_metrics":
        rows = rows.filter(_at_stations(facts, rule.band))
    elif rule.band:
        rows = rows.filter(pl.col("band").is_in(list(rule.band)))
    if spec.kind == "floor":
        rows = rows.filter(pl.col("metric") == spec.measured)
    if rule.output != "*":
        rows = rows.filter(pl.col(spec.output_column).str.contains(_regex(rule.output)))
    return rows


def _at_stations(facts: RunFacts, bands: Sequence[str]) -> pl.Expr:
    """The look-ahead stations of these bands: the first is near, the second mid, the third far."""
    wanted = [s for band, s in zip(BANDS, facts.look_ahead, strict=False) if band in bands]
    if not wanted:
        return pl.lit(False)
    return pl.any_horizontal([(pl.col("station") - s).abs() < 1e-6 * max(1.0, abs(s)) for s in wanted])


def _regex(pattern: str) -> str:
    return translate(pattern).replace("\\Z", "\\z")
