"""What a question that was answered in part, or nowhere, means: the one place that decides it.

A measure is null where the candidate lost the band, where a series is too short or too slow, and where the reference
has nothing to compare. Only the last is nobody's fault. So of what the *reference* covers, in every track that lives a
second or more, at least MEASURED_SHARE must have a value, else the question has no answer there: whatever is left may
have been left because it looks good.

- line_metrics: of the rows of a track whose reference covers the band (coverage is not null).
- series_metrics: of the frames of a band's look-ahead station at which the reference has the line, over all tracks; a
  value is of a whole track.
- A measure that needs a line for some time on end is not asked of lines that the reference itself does not have for so
  long: where the lab's line blinks, no candidate can have a jitter.
- A band that no track's reference covers is not applicable where a rule looks at all bands, and unanswered where the
  rule names the band.

Optional measures have a value only where there is something to measure; for them null is an answer.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import polars as pl
from numpy.typing import NDArray

from harness.run.facts import RunFacts
from harness.run.question import Question
from harness.run.rows import at_stations
from harness.run.stretches import Ints, Stretches
from harness.run.tables import BANDS

__all__ = ["COVERING", "MEASURED_SHARE", "unanswered"]

MEASURED_SHARE = 0.8
_SHORTEST_S = 1.0  # a track that lives less is not asked

COVERING = {"line_metrics": "coverage", "series_metrics": "reference_frames"}
"""The column that tells what the reference covers, by table; tables that are not here have no bands to cover."""

Key = tuple[str, str]
Part = tuple[str | None, int | None, int, int]
"""Band, track, what the reference covers there, what of it has a value."""


def unanswered(
    question: Question, stretches: Stretches, about: NDArray[np.bool_], known: NDArray[np.bool_], facts: RunFacts
) -> dict[Key, str]:
    """Why a question has no full answer in a case, by (rung, case); cases that have one are left out.

    Args:
        question: what is asked.
        stretches: rows of whole cases.
        about: the stretches that the question is about.
        known: of each row, stretch by stretch, whether the column that answers has a value there.
        facts: what is known of the run.
    """
    if question.measure.optional or not question.measure.has_band:
        return {}
    found: dict[Key, str] = {}
    possible = _possible(question, facts)
    for key, every in _parts(stretches, about, known, facts, question.measure.needs_s).items():
        parts = [part for part in every if part[0] is None or part[0] in possible]
        if text := _impossible(question, possible) or _missing_part(
            question, parts, facts.cases[key[1]].fps if key[1] in facts.cases else 0.0
        ):
            found[key] = text
    return found


def _possible(question: Question, facts: RunFacts) -> tuple[str, ...]:
    """Bands in which the measure can have a value on the model's grid."""
    if not (name := question.measure.only_bands):
        return BANDS
    return tuple(band for band, there in zip(BANDS, getattr(facts.grid, name), strict=True) if there)


def _impossible(question: Question, possible: Sequence[str]) -> str:
    """Why there is no answer at all; empty where there can be one."""
    asked = question.band or BANDS
    if lacking := [band for band in question.band if band not in possible] or [b for b in asked if not possible]:
        return f"{question.measure.name} has no value in the {' and '.join(lacking)} band, which is too short for it"
    return ""


def _parts(
    stretches: Stretches, about: NDArray[np.bool_], known: NDArray[np.bool_], facts: RunFacts, needs_s: float
) -> Mapping[Key, Sequence[Part]]:
    """What the reference covers, of lines that it has for long enough, and what of it is measured, by track, band."""
    covers, places = stretches.once("covers", _covers), stretches.once("places", lambda s: _places(s, facts))
    covered = stretches.once("covered", lambda s: s.sums(covers)).tolist()
    measured = stretches.sums(np.where(known, covers, 0)).tolist()
    chosen = about.tolist()
    parts: dict[Key, list[Part]] = {}
    beyond = "station" in stretches.keys.columns
    long_enough = (stretches.once("runs", _longest_runs) >= needs_s).tolist()
    for k, rung, case, band, track in places:
        if chosen[k] and not (beyond and band is None):
            asked = (covered[k], measured[k]) if long_enough[k] or measured[k] else (0, 0)
            parts.setdefault((rung, case), []).append((band, track, *asked))
    return parts


def _places(stretches: Stretches, facts: RunFacts) -> list[tuple[int, str, str, str | None, int | None]]:
    """Number, rung, case, band and track of each stretch, sorted by all but the number."""
    band = _band_of_station(facts) if "station" in stretches.keys.columns else pl.col("band")
    named = stretches.keys.select("rung", "case", band.alias("at"), "track").with_row_index()
    return [*named.sort("rung", "case", "at", "track").iter_rows()]


def _covers(stretches: Stretches) -> Ints:
    """Of each row, stretch by stretch, how many frames of the reference it covers."""
    if "station" in stretches.keys.columns:
        return stretches.ordered(stretches.rows["reference_frames"].fill_null(1)).astype(np.int64)
    return stretches.known("coverage").astype(np.int64)


def _longest_runs(stretches: Stretches) -> NDArray[np.float64]:
    """Of each stretch the longest time on end that the reference has the line; for ever where that is not told."""
    if "reference_run_s" not in stretches.rows.columns:
        return np.full(len(stretches), np.inf)
    return stretches.ordered(stretches.rows["reference_run_s"].fill_null(np.inf))[stretches.starts].astype(np.float64)


def _band_of_station(facts: RunFacts) -> pl.Expr:
    """The band whose look-ahead a row is at; null beyond: where lines end, values come and go."""
    named = pl.lit(None, pl.String)
    for station, band in zip(facts.grid.look_ahead, BANDS, strict=True):
        named = pl.when(at_stations((station,))).then(pl.lit(band)).otherwise(named)
    return named


def _missing_part(question: Question, parts: Sequence[Part], fps: float) -> str:
    for band in question.band:
        if not any(covered for name, _, covered, _ in parts if name == band):
            return f"the reference has no line in the {band} band"
    asked = [p for p in parts if p[2] >= max(1.0, _SHORTEST_S * fps)]
    grouped = _pooled(asked) if question.answers_in == "series_metrics" else asked
    for at, track, covered, measured in grouped:
        if measured < MEASURED_SHARE * covered:
            whose = "" if track is None else f" of track {track}"
            return (
                f"{question.measure.name} has a value in {measured} of the {covered} {at} frames{whose} that the "
                f"reference covers, {100 * MEASURED_SHARE:g} % are needed"
            )
    return ""


def _pooled(parts: Sequence[Part]) -> Iterator[Part]:
    """All tracks of a band together."""
    sums: dict[str | None, tuple[int, int]] = {}
    for band, _, covered, measured in parts:
        before = sums.get(band, (0, 0))
        sums[band] = before[0] + covered, before[1] + measured
    yield from ((at, None, *counts) for at, counts in sums.items())
