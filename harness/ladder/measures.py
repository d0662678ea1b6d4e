"""The size of one anomaly on every rung: the same line, band and frames, measured against the same reference."""

from __future__ import annotations

from typing import Any

import polars as pl

from harness.run.folder import Run

__all__ = ["CaseTables"]

_VALUE_KINDS = ("bend", "kink")  # a number per frame: the largest over the event's frames
_RATE_KINDS = {"flicker": "toggles_per_min"}  # a number per case
_LARGEST_KINDS = ("swing", "nonfinite", "id_swap")  # the largest event that overlaps
# every other kind (missing, extra, class_flip) counts the frames in which it holds


class CaseTables:
    """What explaining one case needs of its tables, against the root of the ladder only."""

    def __init__(self, run: Run, case: str, reference: str) -> None:
        own = (pl.col("case") == case) & (pl.col("reference") == reference)
        bands = pl.col("frame"), pl.col("rung"), pl.col("track"), pl.col("band"), pl.col("bend"), pl.col("kink")
        self._lines = run.table("line_metrics").filter(own).select(*bands).collect()
        self._series = run.table("series_metrics").filter(own).collect()
        self.events = run.table("events").filter(own).collect()

    def sizes(self, event: dict[str, Any]) -> dict[str, float]:
        """Size of an event on every rung.

        Rungs on which a line metric has no value (no partner, too little coverage) are left out: not measured is not
        nothing. A rung without an overlapping event of the other kinds has size 0.

        Args:
            event: a row of events.parquet.
        """
        kind, first, last = event["kind"], event["frame_start"], event["frame_end"]
        if kind in _VALUE_KINDS:
            rows = self._lines.filter(_of(event) & pl.col("frame").is_between(first, last))
            return _by_rung(rows, pl.col(kind).max())
        if kind in _RATE_KINDS:
            rows = self._series.filter(pl.col("track") == event["track"])
            return _by_rung(rows, pl.col(_RATE_KINDS[kind]).max())
        overlap = (pl.col("frame_start") <= last) & (pl.col("frame_end") >= first)
        rows = self.events.filter(_of(event) & overlap & (pl.col("kind") == kind) & (pl.col("owner") != "reference"))
        if kind in _LARGEST_KINDS:
            return _Zeros(_by_rung(rows, pl.col("value").max()))
        start, end = pl.max_horizontal("frame_start", pl.lit(first)), pl.min_horizontal("frame_end", pl.lit(last))
        return _Zeros(_by_rung(rows, (end - start + 1).sum()))


class _Zeros(dict[str, float]):
    """A rung that is not there has size 0."""

    def __missing__(self, rung: str) -> float:
        return 0.0

    def get(self, rung: str, default: Any = None) -> Any:
        return self[rung]


def _of(event: dict[str, Any]) -> pl.Expr:
    """Rows of the event's line and band."""
    return pl.col("track").eq_missing(pl.lit(event["track"])) & pl.col("band").eq_missing(pl.lit(event["band"]))


def _by_rung(rows: pl.DataFrame, size: pl.Expr) -> dict[str, float]:
    table = rows.group_by("rung").agg(size.cast(pl.Float64).alias("size")).drop_nulls("size")
    return dict(table.select("rung", "size").iter_rows())
