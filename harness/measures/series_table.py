"""Everything of docs/DESIGN.md section 4 that needs time: rows of series_metrics.parquet, swing and flicker events."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from harness.measures.blocks import StationBlock
from harness.measures.events import FLICKER_PER_MIN, FLICKER_TOGGLES, Event, EventLog
from harness.measures.flicker import toggles, toggles_per_min
from harness.measures.jitter import jitter, jitter_sums
from harness.measures.lag import LagLook, agreed_lags, look_for_lag
from harness.measures.series import MIN_FPS, SeriesStore, TrackSeries
from harness.measures.sway import sway, sway_sums
from harness.measures.swing import Swing, find_swings
from harness.model.grid import Grid
from harness.run.catalogue import computed, events_of
from harness.run.tables import SORT_KEYS, TABLES
from harness.run.units import ROUNDING

__all__ = ["bias_of", "jitter_of", "series_metrics_table", "sway_of"]

_STILL = 0.05  # of the swing threshold: a reference that moves less tells no lag


def series_metrics_table(
    store: SeriesStore, *, case: str, rung: str, reference: str, grid: Grid, log: EventLog | None = None
) -> pl.DataFrame:
    """One row for every track and look-ahead station of a case and rung.

    swing_rate (swings per minute), swing_pp (the widest) and swing_hz (its frequency) are of swings the candidate owns;
    without one they are 0, 0 and null. Null means not run: below 8 Hz for swing and sway, no stretch long enough, a
    lag that cannot be told.

    Args:
        store: the case's series.
        case: id of the case.
        rung: the candidate's rung.
        reference: the rung it was compared with.
        grid: thresholds, among them the hysteresis of the zigzag.
        log: takes the swing events of every owner, flicker events, and those of the measures with a threshold.

    Returns:
        Columns and order of tables.TABLES["series_metrics"].
    """
    found: list[_Row] = []
    for series in store.tracks():
        known = {"case": case, "rung": rung, "track": series.track, "reference": reference, "fps": series.fps}
        per_min = toggles_per_min(series.in_candidate, series.in_reference, series.fps)
        if log is not None:
            _log_flicker(log, series, per_min)
        first, last = (int(series.frame[at]) for at in (0, -1)) if len(series.frame) else (0, 0)
        for k, station in enumerate(store.look_ahead):
            block = _block(series, k, grid)
            values = _station_metrics(series, k, block, log)
            lag = look_for_lag(block.candidate, block.reference, block.fps, _STILL * block.hysteresis)
            found.append(_Row(k, first, last, lag, {**known, "station": station, "toggles_per_min": per_min, **values}))
        del series  # before the next one is made dense
    _settle_lags(found)
    if log is not None:
        for row in found:
            _log_over(log, row, grid)
    rows = [{k: _null(v) for k, v in row.values.items()} for row in found]
    return pl.DataFrame(rows, schema=TABLES["series_metrics"]).sort(*SORT_KEYS["series_metrics"])


@dataclass(frozen=True, slots=True)
class _Row:
    """A row of the table; `station` is the position of its look-ahead, `first` and `last` are the track's frames."""

    station: int
    first: int
    last: int
    lag: LagLook
    values: dict[str, Any]


def _settle_lags(rows: Sequence[_Row]) -> None:
    """A lag is one of all lines and stations, or none."""
    for row, lag in zip(rows, agreed_lags([row.lag for row in rows]), strict=True):
        row.values["lag_frames"] = lag


def bias_of(block: StationBlock) -> float | None:
    """Mean offset over the case."""
    return float(np.nanmean(block.offset)) if np.isfinite(block.offset).any() else None


def jitter_of(block: StationBlock) -> float | None:
    """Jitter of the offset; None with fewer than 3 frames."""
    return float(jitter(*jitter_sums(block.offset[:, None]))[0]) if len(block.offset) >= 3 else None


def sway_of(block: StationBlock) -> float | None:
    """Sway of the offset; None below 8 Hz."""
    return sway(*sway_sums(block.offset, block.fps)) if block.fps >= MIN_FPS else None


def _block(series: TrackSeries, k: int, grid: Grid) -> StationBlock:
    offset = series.offset[:, k].astype(np.float64)
    return StationBlock(offset, series.candidate[:, k], series.reference[:, k], series.fps, grid.thresholds.swing)


def _station_metrics(series: TrackSeries, k: int, block: StationBlock, log: EventLog | None) -> dict[str, Any]:
    metrics: dict[str, Any] = {"frames": int(np.isfinite(block.offset).sum())}
    metrics |= {m.column: m.function(block) for m in computed("series_metrics")}
    found = find_swings(
        np.where(series.merging, np.nan, block.offset),
        series.fps,
        block.hysteresis,
        candidate=block.candidate + series.ego[:, k],
        reference=block.reference + series.ego[:, k],
    )
    if found is None:
        return {**metrics, "swing_rate": None, "swing_pp": None, "swing_hz": None}
    swings, looked_at = found
    if log is not None:
        for s in swings:
            log.add(_event(s, series, k, block.hysteresis))
    return metrics | _summary([s for s in swings if s.owner == "candidate"], looked_at / series.fps / 60)


def _log_over(log: EventLog, row: _Row, grid: Grid) -> None:
    """Measures of the whole track that are over their threshold, one event each, over all its frames."""
    for m in events_of("series_metrics"):
        value = row.values[m.column]
        assert m.threshold is not None  # events_of chose it so
        threshold = m.threshold.of(grid)[row.station]
        if value is not None and abs(value) > threshold * (1 + ROUNDING):
            log.add(Event(m.name, row.first, row.last, row.values["track"], row.station, abs(value), threshold))


def _summary(swings: list[Swing], minutes: float) -> dict[str, Any]:
    widest = max(swings, key=lambda s: s.pp, default=None)
    return {
        "swing_rate": len(swings) / minutes,
        "swing_pp": widest.pp if widest else 0.0,
        "swing_hz": widest.hz if widest else None,
    }


def _event(swing: Swing, series: TrackSeries, k: int, threshold: float) -> Event:
    first, last = int(series.frame[swing.start]), int(series.frame[swing.stop])
    return Event("swing", first, last, series.track, k, swing.pp, threshold, swing.owner)


def _log_flicker(log: EventLog, series: TrackSeries, per_min: float) -> None:
    excess = toggles(series.in_candidate) - toggles(series.in_reference)
    if per_min >= FLICKER_PER_MIN and excess >= FLICKER_TOGGLES:
        change = np.flatnonzero(series.in_candidate[1:] != series.in_candidate[:-1]) + 1
        first, last = int(series.frame[change[0]]), int(series.frame[change[-1]])
        log.add(Event("flicker", first, last, series.track, -1, per_min, FLICKER_PER_MIN))


def _null(value: Any) -> Any:
    return None if isinstance(value, float) and math.isnan(value) else value
