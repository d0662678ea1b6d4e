"""The size of one finding on every rung: the same line, band and frames, measured against the same reference."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import polars as pl

from harness.run.catalogue import Measure, event_kinds, find_measure, measures
from harness.run.facts import RunFacts, RunLike
from harness.run.rows import at_stations, of_candidate
from harness.run.tables import BANDS
from harness.run.units import ROUNDING

__all__ = ["CaseTables", "Place", "exceeds", "severity", "worse_by"]

NONFINITE = 1000.0  # severity of what has no finite size


def worse_by(measure: Measure, after: float, before: float) -> float:
    """How much worse one value of a measure is than another."""
    return after - before if measure.higher_is_worse else before - after


def exceeds(measure: Measure, value: float, limit: float) -> bool:
    """Whether a value is on the bad side of a limit; NaN is not."""
    return worse_by(measure, value, limit) > 0 and not math.isclose(value, limit, rel_tol=ROUNDING)


def severity(measure: Measure, value: float, limit: float) -> float:
    """How many times its limit a value is, counted from the best one.

    Counts and lengths in frames grow without bound where offsets do not, so they enter by 1 + log2; an output that is
    not finite is worse than anything finite.
    """
    room = worse_by(measure, limit, measure.best)
    if measure.kin == "nonfinite" or not 0 < room < math.inf:
        return NONFINITE
    ratio = worse_by(measure, value, measure.best) / room
    return 1 + math.log2(ratio) if measure.quantity in ("frames", "count") and ratio > 1 else ratio


@dataclass(frozen=True, slots=True)
class Place:
    """Where in a case; None where it does not apply. first and last are frames, both included."""

    track: int | None = None
    band: str | None = None
    station: float | None = None
    output: str | None = None
    signal: str | None = None
    first: int | None = None
    last: int | None = None


class CaseTables:
    """What explaining one case needs of its tables; each is read when it is first asked for."""

    def __init__(self, run: RunLike, facts: RunFacts, case: str) -> None:
        self._run = run
        self._facts = facts
        self._case = case
        self._read: dict[str, pl.DataFrame] = {}

    def table(self, name: str) -> pl.DataFrame:
        """The case's rows of one table."""
        if name not in self._read:
            self._read[name] = self._run.table(name).filter(pl.col("case") == self._case).collect()
        return self._read[name]

    def sizes(self, measure: Measure, place: Place, reference: str) -> dict[str, float]:
        """The worst value of a measure in one place, by rung.

        Rungs on which it has no value there (no partner, too little coverage) are left out: not measured is not
        nothing.
        """
        rows = self.table(measure.table)
        chosen = [pl.col("reference") == reference] if measure.has_reference else []
        rows = rows.filter(*chosen, *_of(rows.columns, place, self._facts))
        value = pl.col(measure.column).cast(pl.Float64).fill_nan(None)
        value = value.abs() if measure.signed else value
        worst = value.max() if measure.higher_is_worse else value.min()
        return _by_rung(rows, worst)

    def event_sizes(self, event: Mapping[str, Any], reference: str) -> dict[str, float]:
        """Size of an event on every rung.

        Args:
            event: a row of events.parquet.
            reference: the rung it was found against.
        """
        entry = event_kinds()[event["kind"]]
        first, last = event["frame_start"], event["frame_end"]
        if entry.sizing in ("frames", "case"):
            place = Place(event["track"], event["band"], first=first, last=last)
            assert entry.evidence is not None  # every event has some
            behind = measures().get(entry.measured) or find_measure(".".join(entry.evidence))
            return self.sizes(behind, place, reference)
        overlap = (pl.col("frame_start") <= last) & (pl.col("frame_end") >= first)
        same = [pl.col(c).eq_missing(pl.lit(event[c])) for c in ("kind", "track", "band")]
        rows = self.table("events").filter(overlap, *same, pl.col("reference") == reference, of_candidate())
        if entry.sizing == "overlap":
            return _Zeros(self._below(entry, event, reference) | _by_rung(rows, pl.col("value").max()))
        start, end = pl.max_horizontal("frame_start", pl.lit(first)), pl.min_horizontal("frame_end", pl.lit(last))
        return _Zeros(_by_rung(rows, (end - start + 1).sum()))

    def _below(self, entry: Measure, event: Mapping[str, Any], reference: str) -> dict[str, float]:
        """Sizes on rungs without such an event: of the same line over the case, its threshold at most."""
        if not entry.below:
            return {}
        sizes = self.sizes(find_measure(entry.below), Place(event["track"], event["band"]), reference)
        return {rung: min(size, float(event["threshold"])) for rung, size in sizes.items()}

    def stretch(
        self, measure: Measure, place: Place, rung: str, reference: str, frame: int, limit: float
    ) -> tuple[int, int, int]:
        """First and last frame of the stretch around `frame` in which a measure is over a limit; how many there are.

        A stretch is of frames that follow one another in the table.
        """
        rows = self.table(measure.table)
        chosen = [pl.col("rung") == rung] + ([pl.col("reference") == reference] if measure.has_reference else [])
        rows = rows.filter(*chosen, *_of(rows.columns, place, self._facts))
        value = pl.col(measure.column).cast(pl.Float64)
        rows = rows.select("frame", value=value.abs() if measure.signed else value).drop_nulls().sort("frame")
        over = rows.filter(pl.col("value") > limit if measure.higher_is_worse else pl.col("value") < limit)
        frames = over["frame"].unique(maintain_order=True)
        if frames.is_empty():
            return frame, frame, 1
        number = (frames.diff().fill_null(1) > 1).cum_sum()
        stretches = (
            pl.DataFrame({"frame": frames, "number": number})
            .group_by("number")
            .agg(first=pl.col("frame").min(), last=pl.col("frame").max())
        )
        around = stretches.filter((pl.col("first") <= frame) & (pl.col("last") >= frame))
        if around.is_empty():
            return frame, frame, len(stretches)
        return int(around["first"][0]), int(around["last"][0]), len(stretches)


class _Zeros(dict[str, float]):
    """A rung that is not there has size 0."""

    def __missing__(self, rung: str) -> float:
        return 0.0

    def get(self, rung: str, default: Any = None) -> Any:
        return self[rung]


def _of(columns: list[str], place: Place, facts: RunFacts) -> list[pl.Expr]:
    """Rows of a table that lie in a place, as far as the table tells places apart."""
    chosen = [
        pl.col(name) == value
        for name in ("track", "output", "signal")
        if name in columns and (value := getattr(place, name)) is not None
    ]
    if "band" in columns and place.band is not None:
        chosen.append(pl.col("band") == place.band)
    stations: tuple[float, ...] = () if place.station is None else (place.station,)
    if not stations and place.band is not None:
        stations = facts.grid.series_stations_of([BANDS.index(place.band)])
    if "station" in columns and stations:
        chosen.append(at_stations(stations))
    if "frame" in columns and place.first is not None:
        chosen.append(pl.col("frame").is_between(place.first, place.last))
    return chosen


def _by_rung(rows: pl.DataFrame, size: pl.Expr) -> dict[str, float]:
    table = rows.group_by("rung").agg(size.cast(pl.Float64).alias("size")).drop_nulls("size")
    return dict(table.select("rung", "size").iter_rows())
