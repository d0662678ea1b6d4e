"""Every measure in a few numbers per case and rung, and the heat-mapped table of rungs made from them.

Two statistics, both the gate's own (harness/run/statistic.py): `worst`, the largest value of any frame, line and
station (smallest where less is worse), and `typical`, the median over cases of each case's mean; a case counts once
however long it is.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import polars as pl

from harness.measures.band import MIN_COVERAGE
from harness.model.grid import Grid
from harness.report.glossary import columns as shown_measures
from harness.run.catalogue import Measure, find_measure
from harness.run.facts import RunFacts, RunLike
from harness.run.numbers import number, unit_text, with_unit
from harness.run.question import Question
from harness.run.statistic import Asked, answers
from harness.run.tables import BANDS
from harness.run.units import exceeds

__all__ = ["ALL_BANDS", "STATISTICS", "case_summary", "heat_table", "pooled"]

ALL_BANDS = "all"
STATISTICS = ("worst", "typical")

_SCHEMA = {
    "case": pl.String, "rung": pl.String, "band": pl.String, "metric": pl.String,
    "worst": pl.Float64, "mean": pl.Float64,
}  # fmt: skip


def pooled(run: RunLike, facts: RunFacts) -> pl.DataFrame:
    """Columns case, rung, band, metric, worst, mean; band is `all` for measures without; no row without a value."""
    asked = [pair for m in shown_measures() for pair in _questions(m)]
    rungs = [r for r in facts.rungs if r != facts.reference]
    looked = {True: dict.fromkeys(rungs, facts.reference), False: dict.fromkeys(facts.rungs, facts.reference)}
    numbers = answers(run, facts, [Asked(q, looked[q.measure.has_reference]) for _, q in asked])
    rows: dict[tuple[str, str, str, str], dict[str, float]] = {}
    for (band, question), found in zip(asked, numbers, strict=True):
        for (rung, case), value in found.items():
            if value.compared and value.value == value.value:
                name = "mean" if question.statistic == "mean" else "worst"
                rows.setdefault((case, rung, band, question.measure.name), {})[name] = value.value
    table = [dict(zip(_SCHEMA, (*key, v.get("worst"), v.get("mean")), strict=True)) for key, v in rows.items()]
    return pl.DataFrame(table, schema=_SCHEMA).filter(pl.col("worst").is_not_null()).sort(list(_SCHEMA)[:4])


def _questions(measure: Measure) -> Iterator[tuple[str, Question]]:
    """(band, question) for the worst and the mean, band by band where the measure has bands."""
    for band in BANDS if measure.has_band else (ALL_BANDS,):
        chosen = () if band == ALL_BANDS else (band,)
        yield band, Question(measure, "max" if measure.higher_is_worse else "min", chosen)
        yield band, Question(measure, "mean", chosen)


def threshold_of(measure: Measure, band: str, grid: Grid) -> float | None:
    """From where on a value is a finding; None where none is set."""
    at = BANDS.index(band) if band in BANDS else 0
    if measure.threshold is not None:
        return measure.threshold.of(grid)[at]
    return grid.thresholds.swing[at] if measure.name == "swing_pp" else None


def severity(measure: Measure, value: float, band: str, grid: Grid) -> float | None:
    """Value over its threshold (more than 1 is a finding); None where none is set."""
    if measure.name == "coverage":
        return (1 - value) / (1 - MIN_COVERAGE)
    limit = threshold_of(measure, band, grid)
    return value / limit if limit else None


def _over(size: float | None) -> bool:
    """Whether a severity is that of a finding; a value at its threshold is none."""
    return size is not None and exceeds(size, 1)


def heat_table(pool: pl.DataFrame, facts: RunFacts, judged: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """The rung x metric table, judged by the policy's limits where a rule looked.

    Args:
        pool: of `pooled`.
        facts: the run.
        judged: rung -> metric -> what rules found there (harness/report/judgement.py).

    Returns:
        JSON-able: `columns` (key, label, group, unit, definition) of metrics that have any value, `groups` over them,
        `bands`, and `cells`: rung name -> metric key -> "STATISTIC.BAND" -> cell with `text`, `tone` (`limit` where
        there is a threshold, else `size`), `shade` 0..1, `over` (threshold passed), `worst` (the first rung to reach
        its column's worst) and `note` (where it happened).
    """
    present = set(pool["metric"].unique().to_list())
    metrics = [m for m in shown_measures() if m.name in present]
    cells: dict[str, dict[str, dict[str, Any]]] = {r.name: {} for r in facts.rungs.values()}
    for metric in metrics:
        rows = pool.filter(pl.col("metric") == metric.name)
        for statistic in STATISTICS:
            for band in (ALL_BANDS, *BANDS):
                found = _column(metric, rows, statistic, band, facts)
                for rung, cell in found.items():
                    _judge(cell, judged.get(rung, {}).get(metric.name, ()), band)
                    cells.setdefault(rung, {}).setdefault(metric.name, {})[f"{statistic}.{band}"] = cell
    columns = [
        {
            "key": m.name, "label": m.label, "group": m.group, "unit": unit_text(m.quantity, facts.length_unit),
            "definition": m.definition, "banded": m.has_band,
        }
        for m in metrics
    ]  # fmt: skip
    groups = [{"name": g, "columns": n} for g, n in Counter(m.group for m in metrics).items()]
    return {"columns": columns, "groups": groups, "bands": [ALL_BANDS, *BANDS], "cells": cells}


def _column(
    metric: Measure, rows: pl.DataFrame, statistic: str, band: str, facts: RunFacts
) -> dict[str, dict[str, Any]]:
    """Cells of one metric, statistic and band, by rung."""
    if band != ALL_BANDS and metric.has_band:
        rows = rows.filter(pl.col("band") == band)
    found = {}
    for (rung,), part in rows.partition_by("rung", as_dict=True).items():
        found[str(rung)] = _statistic(metric, part, statistic, facts)
    values = [v for v, *_ in found.values()]
    worst = (min if not metric.higher_is_worse else max)(values, default=0.0)
    cells = {rung: _cell(metric, value, at, note, worst, facts) for rung, (value, at, note) in found.items()}
    text = number(worst, metric.quantity, facts.length_unit)
    first = next((r for r in facts.ladder if r in cells and cells[r]["text"] == text), None)
    differ = len({cell["text"] for cell in cells.values()}) > 1
    for rung, cell in cells.items():
        cell["worst"] = differ and rung == first
    return cells


def _statistic(metric: Measure, part: pl.DataFrame, statistic: str, facts: RunFacts) -> tuple[float, str, str]:
    """(value, band, where) of one rung: the band with the greatest severity decides."""
    choices = []
    for (at,), rows in part.partition_by("band", as_dict=True).items():
        if statistic == "worst":
            row = rows.sort("worst", descending=metric.higher_is_worse).row(0, named=True)
            value, where = float(row["worst"]), f"case {row['case']}"
        else:
            value, where = float(rows["mean"].median() or 0.0), f"median of {rows.height} cases"  # type: ignore[arg-type]  # a float column
        size = severity(metric, value, str(at), facts.grid)
        order = size if size is not None else (-value if not metric.higher_is_worse else value)
        choices.append((order, value, str(at), where if at == ALL_BANDS else f"{at}, {where}"))
    _, value, at, where = max(choices)
    return value, at, where


def _cell(metric: Measure, value: float, band: str, note: str, worst: float, facts: RunFacts) -> dict[str, Any]:
    size = severity(metric, value, band, facts.grid)
    limit = threshold_of(metric, band, facts.grid)
    against = f"; a finding above {with_unit(limit, metric.quantity, facts.length_unit)}" if limit else ""
    if size is None:
        scale = max(worst, _small(metric, facts.grid))
        shade = value / scale if scale > 0 and metric.higher_is_worse else 0.0
    else:
        shade = 0.5 * min(size, 1.0) + 0.25 * min(max(size - 1, 0.0), 2.0)
    return {
        "text": number(value, metric.quantity, facts.length_unit),
        "tone": "size" if size is None else "limit",
        "shade": round(max(shade, 0.0), 3),
        "over": _over(size),
        "judged": "",
        "note": f"{with_unit(value, metric.quantity, facts.length_unit)} ({note}){against}",
    }


def _judge(cell: dict[str, Any], rules: Sequence[Mapping[str, Any]], band: str) -> None:
    """Put into a cell what the policy's rules on this rung, measure and band found."""
    own = [r for r in rules if band == ALL_BANDS or not r["bands"] or band in r["bands"]]
    if own:
        passed = all(r["status"] == "PASS" for r in own)
        broken = any(r["status"] in ("FAIL", "NONFINITE", "CRASHED") for r in own)
        cell["judged"] = "kept" if passed else "broken" if broken else "undecided"
        cell["note"] = "; ".join([cell["note"], *(r["text"] for r in own)])


def _small(metric: Measure, grid: Grid) -> float:
    """The size below which a metric without a threshold is not shaded as if it mattered."""
    return {
        "length": threshold_of(find_measure("bend"), BANDS[0], grid) or 0.0,
        "angle": threshold_of(find_measure("kink"), BANDS[0], grid) or 0.0,
        "curvature": 1e-3,
        "share": 0.01,
        "count": 1.0,
        "rate": 1.0,
        "frames": 1.0,
        "time": float("inf"),
    }.get(metric.quantity, 0.0)


def case_summary(pool: pl.DataFrame, facts: RunFacts, keys: Sequence[str]) -> dict[str, dict[str, dict[str, Any]]]:
    """Worst value over rungs and bands of chosen metrics: case -> metric key -> text, over, note."""
    found: dict[str, dict[str, dict[str, Any]]] = {c.id: {} for c in facts.cases.values()}
    for metric in (m for m in shown_measures() if m.name in keys):
        for (case,), rows in pool.filter(pl.col("metric") == metric.name).partition_by("case", as_dict=True).items():
            rung, value, band = _worst_row(metric, rows, facts)
            size = severity(metric, value, band, facts.grid)
            found.setdefault(str(case), {})[metric.name] = {
                "text": number(value, metric.quantity, facts.length_unit),
                "size": round(abs(value), 6),
                "over": _over(size),
                "note": f"{rung}{'' if band == ALL_BANDS else ', ' + band}",
            }
    return found


def _worst_row(metric: Measure, rows: pl.DataFrame, facts: RunFacts) -> tuple[str, float, str]:
    """(rung, value, band) with the greatest severity; of rungs within 1 % of it, the first of the ladder."""
    sizes = []
    for rung, band, value in rows.select("rung", "band", "worst").iter_rows():
        size = severity(metric, value, band, facts.grid)
        order = size if size is not None else (-value if not metric.higher_is_worse else value)
        sizes.append((order, rung, value, band))
    worst = max(order for order, *_ in sizes)
    close = [s for s in sizes if s[0] >= worst - 0.01 * abs(worst)]
    place = {name: i for i, name in enumerate(facts.ladder)}
    return min(close, key=lambda s: place.get(s[1], len(place)))[1:]
