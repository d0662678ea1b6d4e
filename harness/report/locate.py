"""Where in a run to look: the worst frame of a finding over time, and of a case without findings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import polars as pl

from harness.ladder import Finding
from harness.model.grid import Grid
from harness.report.finding import Tables, WorstFrame
from harness.run.catalogue import event_kinds, find_measure
from harness.run.tables import BANDS

__all__ = ["at_their_peak", "largest_differences", "placed"]

_KEY = ("case", "rung", "track", "band")


def placed(run: Tables, findings: Sequence[Finding], reference: str) -> list[Finding]:
    """Numbers of a whole case get the frame, line and band where the measure is largest there, where rows tell it.

    Args:
        run: gives line_metrics.
        findings: of the explanation.
        reference: rung that the rows are compared with.
    """
    return [f if f.frame is not None else _placed(run, f, reference) for f in findings]


def _placed(run: Tables, finding: Finding, reference: str) -> Finding:
    try:
        entry = find_measure(finding.measure)
    except ValueError:
        return finding
    column = entry.column if entry.table == "line_metrics" else "offset_max"
    rows = run.table("line_metrics").filter(
        pl.col("case") == finding.case, pl.col("rung") == finding.rung, pl.col("reference") == reference
    )
    if finding.band is not None:
        rows = rows.filter(pl.col("band") == finding.band)
    if finding.track is not None:
        rows = rows.filter(pl.col("track") == finding.track)
    size = pl.col(column).cast(pl.Float64).abs().fill_nan(None)
    worst = rows.filter(size.is_not_null()).sort(size, descending=entry.higher_is_worse).head(1).collect()
    if not worst.height:
        return finding
    row = worst.row(0, named=True)
    frame = int(row["frame"])
    return replace(finding, frame=frame, frame_start=frame, frame_end=frame, track=row["track"], band=row["band"])


def at_their_peak(line_metrics: pl.LazyFrame, found: list[WorstFrame]) -> list[WorstFrame]:
    """Move each finding over time (a swing, a bias) to the frame of its window where the offset is largest."""
    wanted = [f for f in found if f.band is not None and f.track is not None and _over_time(f)]
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
        }
    )
    peaks = (
        line_metrics.select(*_KEY, "frame", "offset_max")
        .join(keys, on=_KEY)
        .filter(pl.col("frame").is_between(pl.col("from"), pl.col("to")))
        .select("event", "frame", size=pl.col("offset_max").abs().fill_nan(None))
        .drop_nulls()
        .group_by("event")
        .agg(pl.col("frame").sort_by("frame").get(pl.col("size").sort_by("frame").arg_max()))
        .collect()
    )
    frame_of = dict(peaks.iter_rows())
    moved = {id(f): frame_of[i] for i, f in enumerate(wanted) if i in frame_of}
    return [replace(f, frame=moved.get(id(f), f.frame)) for f in found]


def _over_time(frame: WorstFrame) -> bool:
    entry = event_kinds().get(frame.kind)
    return entry is not None and entry.sizing != "frames" and frame.frame_end > frame.frame_start


def largest_differences(run: Tables, cases: Sequence[str], reference: str, grid: Grid) -> list[WorstFrame]:
    """For cases without findings: the row with the largest bend by its threshold, else offset, else any frame."""
    if not cases:
        return []
    thresholds = find_measure("bend").threshold
    assert thresholds is not None  # the catalogue has one
    limits = dict(zip(BANDS, thresholds.of(grid), strict=True))
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
    found = [_difference(row, limits, grid.unit) for row in worst.iter_rows(named=True)]
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
    return [WorstFrame(c, f, reference, "first", None, None, nan, nan, "", f, f) for c, f in found]
