"""Everything of docs/DESIGN.md section 4 that needs time: rows of series_metrics.parquet, swing and flicker events."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from harness.measures.blocks import StationBlock, Stretch
from harness.measures.events import FLICKER_PER_MIN, FLICKER_TOGGLES, Event, EventLog
from harness.measures.flicker import excess_toggles, toggles_per_min
from harness.measures.jumps import without_renames
from harness.measures.lag import NO_LAG, LagLook, agreed_lags, look_for_lag
from harness.measures.series import MIN_FPS, SeriesStore, TrackSeries
from harness.measures.sway import sway, sway_sums
from harness.measures.swing import Swing, find_swings
from harness.model.grid import Grid
from harness.run.catalogue import Measure, computed, events_of
from harness.run.tables import SORT_KEYS, TABLES
from harness.run.units import ROUNDING

__all__ = ["series_metrics_table", "sway_of"]

SHORTEST_S = 0.25  # a track that lives less has no value of any measure: all look at half a second or more
_STILL = 0.05  # of the swing threshold: a reference that moves less tells no lag


def series_metrics_table(
    store: SeriesStore,
    *,
    case: str,
    rung: str,
    reference: str,
    grid: Grid,
    log: EventLog | None = None,
    owned: bool = True,
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
        log: takes the events of every owner: swings, flicker, and those of the measures with a threshold.
        owned: whether what the reference does by itself is left out; not between repeats of one engine.

    Returns:
        Columns and order of tables.TABLES["series_metrics"].
    """
    found: list[_Row] = []
    for series in store.tracks():
        known = {"case": case, "rung": rung, "track": series.track, "reference": reference, "fps": series.fps}
        if not len(series.frame) >= SHORTEST_S * series.fps:
            found += [_blank(series, k, known | {"station": s}) for k, s in enumerate(store.look_ahead)]
            continue
        per_min = toggles_per_min(series.in_candidate, series.in_reference, series.fps)
        if log is not None:
            _log_flicker(log, series, per_min)
        for k, station in enumerate(store.look_ahead):
            block = _block(series, k, grid, owned)
            values, found_in = _station_metrics(series, k, block, log)
            lag = look_for_lag(block.candidate, block.reference, block.fps, _STILL * grid.thresholds.swing)
            values |= known | {"station": station, "toggles_per_min": per_min}
            found.append(_Row(k, series.frame, lag, values, found_in))
        del series  # before the next one is made dense
    _settle_lags(found)
    if log is not None:
        judged = events_of("series_metrics")
        for row in found:
            _log_over(log, row, grid, judged)
    rows = [{k: _null(v) for k, v in row.values.items()} for row in found]
    return pl.DataFrame(rows, schema=TABLES["series_metrics"]).sort(*SORT_KEYS["series_metrics"])


@dataclass(frozen=True, slots=True)
class _Row:
    """A row of the table.

    Attributes:
        station: position of its look-ahead.
        frame: frame of each step of the track.
        lag: what it tells of a lag.
        values: its columns.
        found_in: measure -> where in the series it has its values; of measures that say so.
    """

    station: int
    frame: NDArray[np.int64]
    lag: LagLook
    values: dict[str, Any]
    found_in: dict[str, list[Stretch]]


def _blank(series: TrackSeries, k: int, known: dict[str, Any]) -> _Row:
    """The row of a track too short for any measure; of crowds of short lines there are thousands."""
    empty = dict.fromkeys(TABLES["series_metrics"])
    return _Row(k, series.frame, NO_LAG, empty | _counts(series, k) | known, {})


def _counts(series: TrackSeries, k: int) -> dict[str, int]:
    return {
        "frames": int(np.isfinite(series.offset[:, k]).sum()),
        "reference_frames": int(np.isfinite(series.reference[:, k]).sum()),
    }


def _settle_lags(rows: Sequence[_Row]) -> None:
    """A lag is one of all lines and stations, or none."""
    for row, lag in zip(rows, agreed_lags([row.lag for row in rows]), strict=True):
        row.values["lag_frames"] = lag


def sway_of(block: StationBlock) -> float | None:
    """Sway of the offset; None below 8 Hz."""
    return sway(*sway_sums(block.offset, block.fps)) if block.fps >= MIN_FPS else None


def _block(series: TrackSeries, k: int, grid: Grid, owned: bool) -> StationBlock:
    seen = [x[:, k].astype(np.float64) for x in (series.offset, series.candidate, series.reference)]
    offset, candidate, reference = without_renames(seen[0], seen[1], seen[2], series.fps, grid.thresholds.match_gate)
    return StationBlock(
        offset, candidate, reference, _curvature(series, grid), series.ego[:, k], series.fps, k, grid, owned
    )


def _curvature(series: TrackSeries, grid: Grid) -> NDArray[np.float64]:
    """Change of direction of the reference's line over its three look-ahead stations, [steps]."""
    slope = np.diff(series.reference.astype(np.float64), axis=1) / np.diff(grid.look_ahead)
    return np.asarray(slope[:, 1] - slope[:, 0])


def _station_metrics(
    series: TrackSeries, k: int, block: StationBlock, log: EventLog | None
) -> tuple[dict[str, Any], dict[str, list[Stretch]]]:
    metrics: dict[str, Any] = dict(_counts(series, k))
    stretches: dict[str, list[Stretch]] = {}
    for m in computed("series_metrics"):
        found = m.function(block)
        if isinstance(found, list):
            stretches[m.name] = found
            found = max((s.value for s in found if s.owner == "candidate"), default=0.0)
        metrics[m.column] = found
    return metrics | _swing_metrics(series, k, block, log), stretches


def _swing_metrics(series: TrackSeries, k: int, block: StationBlock, log: EventLog | None) -> dict[str, Any]:
    candidate, reference = block.own()
    found = find_swings(
        np.where(series.merging, np.nan, block.offset),
        series.fps,
        block.grid.thresholds.swing,
        candidate=candidate if block.owned else None,
        reference=reference if block.owned else None,
    )
    if found is None:
        return {"swing_rate": None, "swing_pp": None, "swing_hz": None}
    swings, looked_at = found
    if log is not None:
        for s in swings:
            log.add(_event(s, series, k, block.grid.thresholds.swing))
    return _summary([s for s in swings if s.owner == "candidate"], looked_at / series.fps / 60)


def _log_over(log: EventLog, row: _Row, grid: Grid, judged: Sequence[Measure]) -> None:
    """Measures that are over their threshold: events where they say where, else one over all frames of the track."""
    for m in judged:
        value = row.values[m.column]
        assert m.threshold is not None  # events_of chose it so
        threshold = m.threshold.of(grid)[row.station]
        whole = [] if value is None else [Stretch(0, len(row.frame) - 1, abs(value))]
        for s in row.found_in.get(m.name, whole):
            if s.value > threshold * (1 + ROUNDING):
                first, last = int(row.frame[s.start]), int(row.frame[s.stop])
                log.add(Event(m.name, first, last, row.values["track"], row.station, s.value, threshold, s.owner))


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
    excess = excess_toggles(series.in_candidate, series.in_reference)
    if per_min >= FLICKER_PER_MIN and excess >= FLICKER_TOGGLES:
        change = np.flatnonzero(series.in_candidate[1:] != series.in_candidate[:-1]) + 1
        first, last = int(series.frame[change[0]]), int(series.frame[change[-1]])
        log.add(Event("flicker", first, last, series.track, -1, per_min, FLICKER_PER_MIN))


def _null(value: Any) -> Any:
    return None if isinstance(value, float) and math.isnan(value) else value
