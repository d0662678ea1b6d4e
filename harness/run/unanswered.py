"""What a question that was answered in part, or nowhere, means: the one place that decides it.

A measure is null where the candidate lost the band, where a series is too short or too slow, and where the reference
has nothing to compare. Only the last is nobody's fault. So of what the *reference* covers, in every track that lives a
second or more, at least MEASURED_SHARE must have a value, else the question has no answer there: whatever is left may
have been left because it looks good.

- line_metrics: of the rows of a track whose reference covers the band (coverage is not null).
- series_metrics: of the frames of a look-ahead station at which the reference has the line, over all tracks; a value is
  of a whole track.
- A band that no track's reference covers is not applicable where a rule looks at all bands, and unanswered where the
  rule names the band.

Optional measures have a value only where there is something to measure; for them null is an answer.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import polars as pl

from harness.run.facts import RunFacts
from harness.run.question import Question
from harness.run.tables import BANDS

__all__ = ["COVERING", "MEASURED_SHARE", "Answered", "unanswered"]

MEASURED_SHARE = 0.8
_SHORTEST_S = 1.0  # a track that lives less is not asked

COVERING = {"line_metrics": ("coverage",), "series_metrics": ("reference_frames",)}
"""Columns that tell what the reference covers, by table; tables that are not here have no bands to cover."""

Key = tuple[str, str]
Answered = dict[Key, list[tuple[str, int | None, int, int]]]
"""(rung, case) -> band, track, what the reference covers, what of it has a value."""


def unanswered(question: Question, batch: pl.DataFrame, value: str, facts: RunFacts) -> dict[Key, str]:
    """Why a question has no full answer in a case, by (rung, case); cases that have one are left out.

    Args:
        question: what is asked.
        batch: rows of whole cases with rung, case, track, band or station, the columns of COVERING and the value.
        value: the column that answers; rows that the question is not about are null there and not in the batch.
        facts: what is known of the run.
    """
    if question.measure.optional or not question.measure.has_band:
        return {}
    found: dict[Key, str] = {}
    for key, parts in _answered(batch, value, facts).items():
        if text := _missing_part(question, parts, facts.cases[key[1]].fps if key[1] in facts.cases else 0.0):
            found[key] = text
    return found


def _answered(batch: pl.DataFrame, value: str, facts: RunFacts) -> Answered:
    """What the reference covers and what of it is measured, by track and band."""
    if "station" in batch.columns:
        place, covers = _band_of_station(facts), pl.col("reference_frames").fill_null(1)
    else:
        place, covers = pl.col("band"), pl.col("coverage").is_not_null().cast(pl.Int64)
    has = pl.col(value).is_not_null()
    parts = batch.group_by("rung", "case", place.alias("place"), "track").agg(
        covers.sum().alias("covered"), pl.when(has).then(covers).otherwise(0).sum().alias("measured")
    )
    answered: Answered = {}
    for rung, case, band, track, covered, measured in parts.sort("rung", "case", "place", "track").iter_rows():
        answered.setdefault((rung, case), []).append((band, track, covered, measured))
    return answered


def _band_of_station(facts: RunFacts) -> pl.Expr:
    """The band whose look-ahead a row is at; null for a station that is none of the grid's."""
    named = pl.lit(None, pl.String)
    for band, station in zip(BANDS, facts.grid.look_ahead, strict=False):
        at = (pl.col("station") - station).abs() < 1e-6 * max(1.0, abs(station))
        named = pl.when(at).then(pl.lit(band)).otherwise(named)
    return named


def _missing_part(question: Question, parts: Sequence[tuple[str, int | None, int, int]], fps: float) -> str:
    for band in question.band:
        if not any(covered for name, _, covered, _ in parts if name == band):
            return f"the reference has no line in the {band} band"
    asked = [p for p in parts if p[2] >= max(1.0, _SHORTEST_S * fps)]
    grouped = _pooled(asked) if question.answers_in == "series_metrics" else asked
    for band, track, covered, measured in grouped:
        if measured < MEASURED_SHARE * covered:
            whose = "" if track is None else f" of track {track}"
            return (
                f"{question.measure.name} has a value in {measured} of the {covered} {band} frames{whose} that the "
                f"reference covers, {100 * MEASURED_SHARE:g} % are needed"
            )
    return ""


def _pooled(parts: Sequence[tuple[str, int | None, int, int]]) -> Iterator[tuple[str, None, int, int]]:
    """All tracks of a band together."""
    sums: dict[str, tuple[int, int]] = {}
    for band, _, covered, measured in parts:
        before = sums.get(band, (0, 0))
        sums[band] = before[0] + covered, before[1] + measured
    for band, (covered, measured) in sums.items():
        yield band, None, covered, measured
