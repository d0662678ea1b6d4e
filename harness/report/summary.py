"""Every metric in a few numbers per case and rung, and the heat-mapped table of rungs made from them.

Two statistics: `worst`, the largest value of any frame, line and station (smallest where less is worse), and `typical`,
the median over cases of each case's mean; a case counts once however long it is. One pass over each run table gives
both, per case, rung and band; nothing that grows with the number of frames is held.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import polars as pl

from harness.model.grid import Grid
from harness.report.facts import RunFacts, band_of_station, limit_of
from harness.report.finding import Tables
from harness.report.glossary import METRICS, Metric, number, unit_text, with_unit
from harness.run.tables import BANDS

__all__ = ["ALL_BANDS", "STATISTICS", "case_summary", "heat_table", "pooled"]

ALL_BANDS = "all"
STATISTICS = ("worst", "typical")
COVERAGE_LIMIT = 0.8  # below it a band has no values: docs/DESIGN.md section 4

_SCHEMA = {
    "case": pl.String, "rung": pl.String, "band": pl.String, "metric": pl.String,
    "worst": pl.Float64, "mean": pl.Float64,
}  # fmt: skip


def pooled(run: Tables, facts: RunFacts) -> pl.DataFrame:
    """Columns case, rung, band, metric, worst, mean; band is `all` for metrics without bands; no row where no value."""
    parts = [pl.DataFrame(schema=_SCHEMA)]
    for table in dict.fromkeys(m.table for m in METRICS):
        metrics = [m for m in METRICS if m.table == table]
        parts += [_pool(run.table(table), metrics, facts)]
    return pl.concat(parts).filter(pl.col("worst").is_not_null()).sort("case", "rung", "band", "metric")


def _pool(rows: pl.LazyFrame, metrics: Sequence[Metric], facts: RunFacts) -> pl.DataFrame:
    """One table's metrics; all of one table have bands or none has."""
    columns = rows.collect_schema().names()
    if "reference" in columns:
        rows = rows.filter(pl.col("reference") == facts.reference)
    band = pl.lit(ALL_BANDS)
    if "band" in columns:
        band = pl.col("band")
    elif "station" in columns:
        known = {s: band_of_station(facts.grid, s) for s in facts.grid.look_ahead}
        band = pl.col("station").replace_strict(known, default=BANDS[0], return_dtype=pl.String)
    statistics = [e for m in metrics for e in _statistics(m)]
    wide = rows.group_by("case", "rung", band.alias("band")).agg(statistics).collect(engine="streaming")
    return pl.concat(
        wide.select(
            "case", "rung", "band", pl.lit(m.key).alias("metric"),
            pl.col(f"{m.key}.worst").cast(pl.Float64).alias("worst"),
            pl.col(f"{m.key}.mean").cast(pl.Float64).alias("mean"),
        )
        for m in metrics
    )  # fmt: skip


def _statistics(metric: Metric) -> list[pl.Expr]:
    value = pl.col(metric.column).cast(pl.Float64).fill_nan(None).abs()
    worst = value.min() if metric.worst == "min" else value.max()
    return [worst.alias(f"{metric.key}.worst"), value.mean().alias(f"{metric.key}.mean")]


def severity(metric: Metric, value: float, band: str, grid: Grid) -> float | None:
    """Value over its event threshold (1 and more is an event); None where DESIGN sets no threshold."""
    if metric.key == "coverage":
        return (1 - value) / (1 - COVERAGE_LIMIT)
    limit = limit_of(grid, metric.limit, band if band in BANDS else BANDS[0])
    return value / limit if limit else None


def heat_table(pool: pl.DataFrame, facts: RunFacts) -> dict[str, Any]:
    """The rung x metric table.

    Returns:
        JSON-able: `columns` (key, label, group, unit, definition) of metrics that have any value, `groups` over them,
        `bands`, and `cells`: rung name -> metric key -> "STATISTIC.BAND" -> cell with `text`, `tone` (`limit` where
        there is a threshold, else `size`), `shade` 0..1, `over` (threshold passed), `worst` (the first rung to reach
        its column's worst) and `note` (where it happened).
    """
    present = set(pool["metric"].unique().to_list())
    metrics = [m for m in METRICS if m.key in present]
    cells: dict[str, dict[str, dict[str, Any]]] = {r.name: {} for r in facts.rungs}
    for metric in metrics:
        rows = pool.filter(pl.col("metric") == metric.key)
        for statistic in STATISTICS:
            for band in (ALL_BANDS, *BANDS):
                found = _column(metric, rows, statistic, band, facts)
                for rung, cell in found.items():
                    cells.setdefault(rung, {}).setdefault(metric.key, {})[f"{statistic}.{band}"] = cell
    columns = [
        {
            "key": m.key, "label": m.label, "group": m.group, "unit": unit_text(m.quantity, facts.unit),
            "definition": m.definition, "banded": m.banded,
        }
        for m in metrics
    ]  # fmt: skip
    groups = [{"name": g, "columns": n} for g, n in Counter(m.group for m in metrics).items()]
    return {"columns": columns, "groups": groups, "bands": [ALL_BANDS, *BANDS], "cells": cells}


def _column(
    metric: Metric, rows: pl.DataFrame, statistic: str, band: str, facts: RunFacts
) -> dict[str, dict[str, Any]]:
    """Cells of one metric, statistic and band, by rung."""
    if band != ALL_BANDS and metric.banded:
        rows = rows.filter(pl.col("band") == band)
    found = {}
    for (rung,), part in rows.partition_by("rung", as_dict=True).items():
        found[str(rung)] = _statistic(metric, part, statistic, facts)
    values = [v for v, *_ in found.values()]
    worst = (min if metric.worst == "min" else max)(values, default=0.0)
    cells = {rung: _cell(metric, value, at, note, worst, facts) for rung, (value, at, note) in found.items()}
    text = number(worst, metric.quantity, facts.unit)
    first = next((r for r in facts.ladder if r in cells and cells[r]["text"] == text), None)
    differ = len({cell["text"] for cell in cells.values()}) > 1
    for rung, cell in cells.items():
        cell["worst"] = differ and rung == first
    return cells


def _statistic(metric: Metric, part: pl.DataFrame, statistic: str, facts: RunFacts) -> tuple[float, str, str]:
    """(value, band, where) of one rung: the band with the greatest severity decides."""
    choices = []
    for (at,), rows in part.partition_by("band", as_dict=True).items():
        if statistic == "worst":
            row = rows.sort("worst", descending=metric.worst == "max").row(0, named=True)
            value, where = float(row["worst"]), f"case {row['case']}"
        else:
            value, where = float(rows["mean"].median() or 0.0), f"median of {rows.height} cases"  # type: ignore[arg-type]  # a float column
        size = severity(metric, value, str(at), facts.grid)
        order = size if size is not None else (-value if metric.worst == "min" else value)
        choices.append((order, value, str(at), where if at == ALL_BANDS else f"{at}, {where}"))
    _, value, at, where = max(choices)
    return value, at, where


def _cell(metric: Metric, value: float, band: str, note: str, worst: float, facts: RunFacts) -> dict[str, Any]:
    size = severity(metric, value, band, facts.grid)
    limit = limit_of(facts.grid, metric.limit, band if band in BANDS else BANDS[0])
    against = f"; event threshold {with_unit(limit, metric.quantity, facts.unit)}" if limit else ""
    if size is None:
        scale = max(worst, _small(metric, facts.grid))
        shade = value / scale if scale > 0 and metric.worst == "max" else 0.0
    else:
        shade = 0.5 * min(size, 1.0) + 0.25 * min(max(size - 1, 0.0), 2.0)
    return {
        "text": number(value, metric.quantity, facts.unit),
        "tone": "size" if size is None else "limit",
        "shade": round(max(shade, 0.0), 3),
        "over": size is not None and size >= 1,
        "note": f"{with_unit(value, metric.quantity, facts.unit)} ({note}){against}",
    }


def _small(metric: Metric, grid: Grid) -> float:
    """The size below which a metric without a threshold is not shaded as if it mattered."""
    return {
        "length": limit_of(grid, "bend") or 0.0,
        "angle": limit_of(grid, "kink_rad") or 0.0,
        "curvature": 1e-3,
        "share": 0.01,
        "count": 1.0,
        "rate": 1.0,
        "frames": 1.0,
        "time_ms": float("inf"),
    }.get(metric.quantity, 0.0)


def case_summary(pool: pl.DataFrame, facts: RunFacts, keys: Sequence[str]) -> dict[str, dict[str, dict[str, Any]]]:
    """Worst value over rungs and bands of chosen metrics: case -> metric key -> text, over, note."""
    found: dict[str, dict[str, dict[str, Any]]] = {c.id: {} for c in facts.cases}
    for metric in (m for m in METRICS if m.key in keys):
        for (case,), rows in pool.filter(pl.col("metric") == metric.key).partition_by("case", as_dict=True).items():
            rung, value, band = _worst_row(metric, rows, facts)
            size = severity(metric, value, band, facts.grid)
            found.setdefault(str(case), {})[metric.key] = {
                "text": number(value, metric.quantity, facts.unit),
                "over": size is not None and size >= 1,
                "note": f"{rung}{'' if band == ALL_BANDS else ', ' + band}",
            }
    return found


def _worst_row(metric: Metric, rows: pl.DataFrame, facts: RunFacts) -> tuple[str, float, str]:
    """(rung, value, band) with the greatest severity; of rungs within 1 % of it, the first of the ladder."""
    sizes = []
    for rung, band, value in rows.select("rung", "band", "worst").iter_rows():
        size = severity(metric, value, band, facts.grid)
        order = size if size is not None else (-value if metric.worst == "min" else value)
        sizes.append((order, rung, value, band))
    worst = max(order for order, *_ in sizes)
    close = [s for s in sizes if s[0] >= worst - 0.01 * abs(worst)]
    place = {name: i for i, name in enumerate(facts.ladder)}
    return min(close, key=lambda s: place.get(s[1], len(place)))[1:]
