"""Limits of a policy, so that what they find is explained like an event: on which step does the number go over?"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import polars as pl

from harness.errors import PolicyError
from harness.run.catalogue import METRICS, Metric, find_metric
from harness.run.folder import Run
from harness.run.tables import BANDS
from harness.run.units import base_unit, scale

__all__ = ["Limit", "limit_sizes", "limits_of_verdict"]

_PLAIN: dict[str, Callable[[pl.Expr], pl.Expr]] = {
    "max": lambda value: value.max(),
    "mean": lambda value: value.mean(),
    "share": lambda value: (value > 0).mean(),
}
_QUANTILES = {"p1": 0.01, "p5": 0.05, "p50": 0.5, "p95": 0.95, "p99": 0.99}


@dataclass(frozen=True, slots=True)
class Limit:
    """A statistic of one metric over one case that must not exceed `limit`.

    Attributes:
        metric: as policies write it (`heading`, `missing`, `jitter`); higher must be worse; events have no place here.
        statistic: max, mean, p50, p95, p99 or share (of values above 0).
        limit: in base units: the run's length unit, radians, shares of one.
        band: only this band; None for all of them together.
    """

    metric: str
    statistic: str
    limit: float
    band: str | None = None

    @property
    def kind(self) -> str:
        """`METRIC STATISTIC`, the kind of its anomalies."""
        return f"{self.metric} {self.statistic}"


def limit_sizes(run: Run, limit: Limit, reference: str) -> dict[tuple[str, str], float]:
    """The statistic by (case, rung), against the root of the ladder; where nothing was compared there is no entry.

    Raises:
        PolicyError: a metric or statistic that cannot be explained.
    """
    try:
        metric = find_metric(limit.metric)
    except ValueError as error:
        raise PolicyError(str(error), where="limit", remedy="name a metric of the run tables") from error
    if metric.kind == "event" or not metric.higher_is_worse or not metric.has_reference:
        raise PolicyError(
            f"metric {limit.metric!r} is not one whose growth can be followed down the ladder",
            where="limit",
            remedy=f"use one of {sorted(n for n, m in METRICS.items() if _followed(m))}",
        )
    value = pl.col(metric.column).cast(pl.Float64)
    value = value.abs() if metric.signed else value
    rows = run.table(metric.table).filter((pl.col("reference") == reference) & value.is_not_null())
    if limit.band is not None and metric.table == "line_metrics":
        rows = rows.filter(pl.col("band") == limit.band)
    elif limit.band is not None and metric.table == "series_metrics":
        station = run.meta["card"]["grid"]["look_ahead"][BANDS.index(limit.band)]
        rows = rows.filter((pl.col("station") - station).abs() < 1e-6)
    table = rows.group_by("case", "rung").agg(_statistic(value, limit.statistic).alias("size")).collect()
    return {(case, rung): size for case, rung, size in table.iter_rows() if size is not None}


def limits_of_verdict(verdict: Mapping[str, Any] | None, run: Run) -> tuple[Limit, ...]:
    """Limits of the rules that verdict.json found breached, band by band, as far as they can be followed."""
    found: dict[Limit, None] = {}
    height = float(run.meta["card"]["grid"].get("height") or 0)
    for rule in (verdict or {}).get("rules", ()):
        metric = METRICS.get(rule["metric"])
        if rule["verdict"] != "FAIL" or rule["compare"] != "limit" or metric is None or not _followed(metric):
            continue
        if rule["statistic"] in (*_QUANTILES, *_PLAIN):
            size = scale(rule["unit"], run_unit=run.unit, image_height_px=height, where=f"rule {rule['id']}")
            for band in rule["band"] or (None,):
                found[Limit(rule["metric"], rule["statistic"], rule["limit_value"] * size, band)] = None
    return tuple(found)


def unit_of(limit: Limit, run: Run) -> str:
    """Unit of a limit's numbers."""
    return "share" if limit.statistic == "share" else base_unit(find_metric(limit.metric).quantity, run.unit)


def _followed(metric: Metric) -> bool:
    return metric.kind != "event" and metric.higher_is_worse and metric.has_reference


def _statistic(value: pl.Expr, name: str) -> pl.Expr:
    if name in _PLAIN:
        return _PLAIN[name](value)
    if name in _QUANTILES:
        return value.quantile(_QUANTILES[name], "linear")
    raise PolicyError(
        f"statistic {name!r} cannot be followed down the ladder",
        where="limit",
        remedy=f"must be in {sorted([*_PLAIN, *_QUANTILES])}",
    )
