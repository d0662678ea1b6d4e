"""Where in a run to look: the frame at which an event is worst, and the worst frame of a case without events."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import polars as pl

from harness.report.finding import Tables, WorstFrame

__all__ = ["at_their_peak", "largest_differences"]

_FRAME_METRIC = {"bend": "bend", "kink": "kink", "largest_bend": "bend"}
_KEY = ("case", "rung", "track", "band")


def at_their_peak(line_metrics: pl.LazyFrame, found: list[WorstFrame]) -> list[WorstFrame]:
    """Move each event to the frame of its window where its metric (the offset, for events over time) is largest."""
    wanted = [f for f in found if f.band is not None and f.track is not None and f.frame_end > f.frame_start]
    if not wanted:
        return found
    keys = pl.LazyFrame(
        {
            "event": list(range(len(wanted))),
            "case": [f.case for f in wanted],
            "rung": [f.rung for f in wanted],
            "track": pl.Series([f.track for f in wanted], dtype=pl.Int32),
            "band": [f.band for f in wanted],
            "from": [f.frame_start for f in wanted],
            "to": [f.frame_end for f in wanted],
            "metric": [_FRAME_METRIC.get(f.kind, "offset_max") for f in wanted],
        }
    )
    size = pl.coalesce(
        pl.when(pl.col("metric") == name).then(pl.col(name).abs()) for name in ("bend", "kink", "offset_max")
    )
    peaks = (
        line_metrics.select(*_KEY, "frame", "bend", "kink", "offset_max")
        .join(keys, on=_KEY)
        .filter(pl.col("frame").is_between(pl.col("from"), pl.col("to")))
        .select("event", "frame", size.fill_nan(None).alias("size"))
        .drop_nulls()
        .group_by("event")
        .agg(pl.col("frame").sort_by("frame").get(pl.col("size").sort_by("frame").arg_max()))
        .collect()
    )
    frame_of = dict(peaks.iter_rows())
    moved = {id(f): frame_of[i] for i, f in enumerate(wanted) if i in frame_of}
    return [replace(f, frame=moved.get(id(f), f.frame)) for f in found]


def largest_differences(
    run: Tables, cases: Sequence[str], reference: str, limits: dict[str, float], unit: str
) -> list[WorstFrame]:
    """For cases without events: the row with the largest bend of its band's threshold, else offset, else any frame."""
    if not cases:
        return []
    limit = pl.col("band").replace_strict(limits, default=None, return_dtype=pl.Float64)
    rows = (
        run.table("line_metrics")
        .filter(pl.col("case").is_in(list(cases)), pl.col("reference") == reference)
        .select("case", "frame", "rung", "track", "band", pl.col("bend", "offset_max").abs().fill_nan(None))
        .with_columns((pl.col("bend") / limit).alias("by_bend"))
    )
    most = rows.group_by("case").agg(pl.col("by_bend").max().alias("bent"), pl.col("offset_max").max().alias("off"))
    is_worst = pl.when(pl.col("bent").is_not_null()).then(pl.col("by_bend") == pl.col("bent"))
    worst = (
        rows.join(most.collect(engine="streaming").lazy(), on="case")
        .filter(is_worst.otherwise(pl.col("offset_max") == pl.col("off")))
        .collect(engine="streaming")
        .sort("case", "frame", "rung", "track", "band")
        .unique("case", keep="first")
        .sort("by_bend", "case", descending=[True, False], nulls_last=True)
    )
    found = [_difference(row, limits, unit) for row in worst.iter_rows(named=True)]
    have = {f.case for f in found}
    return found + _any_frames(run, [c for c in cases if c not in have], reference)


def _difference(row: dict[str, Any], limits: dict[str, float], unit: str) -> WorstFrame:
    bent = row["by_bend"] is not None
    return WorstFrame(
        case=row["case"],
        frame=row["frame"],
        rung=row["rung"],
        kind="largest_bend" if bent else "largest_offset",
        track=row["track"],
        band=row["band"],
        value=row["bend"] if bent else row["offset_max"],
        threshold=limits[row["band"]] if bent else float("nan"),
        unit=unit,
        owner="candidate",
        frame_start=row["frame"],
        frame_end=row["frame"],
        severity=row["by_bend"] or 0.0,
    )


def _any_frames(run: Tables, cases: Sequence[str], reference: str) -> list[WorstFrame]:
    """The first frame with lines of each case; frame 0 where nothing was drawn at all."""
    if not cases:
        return []
    rows = run.table("lines").filter(pl.col("case").is_in(list(cases))).group_by("case").agg(pl.col("frame").min())
    first = dict(rows.collect().iter_rows())
    nan = float("nan")
    found = [(case, first.get(case, 0)) for case in cases]
    return [WorstFrame(c, f, reference, "first", None, None, nan, nan, "", "", f, f) for c, f in found]
