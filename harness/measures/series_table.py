"""Everything of docs/DESIGN.md section 4 that needs time: rows of series_metrics.parquet, swing and flicker events."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from harness.measures.blocks import StationBlock
from harness.measures.events import FLICKER_PER_MIN, FLICKER_TOGGLES, Event, EventLog
from harness.measures.flicker import Toggles
from harness.measures.frame_owner import lasting_offset
from harness.measures.jumps import without_glitches, without_renames
from harness.measures.lag import agreed_lags, look_for_lag
from harness.measures.own import Owner
from harness.measures.sections import Found, PooledLine
from harness.measures.series import MIN_FPS, SeriesStore, TrackSeries
from harness.measures.sway import sway, sway_sums
from harness.measures.swing import find_swings
from harness.measures.windows import runs_of
from harness.model.grid import Grid
from harness.run.catalogue import Measure, computed, events_of, find_measure
from harness.run.tables import SORT_KEYS, TABLES
from harness.run.units import ROUNDING

__all__ = ["SeriesTable", "sway_of"]

SWING = "swing"
SMALL_SWING = "small swing"  # no event, and no column of its own
SHORTEST_S = 0.25  # a track that lives less has no value of any measure: all look at half a second or more
_STILL = 0.05  # of the swing threshold: a reference that moves less tells no lag


class SeriesTable:
    """The table of one case and rung, section by section (sections.py).

    swing_rate (swings per minute), swing_pp (the widest) and swing_hz (its frequency) are of swings the candidate owns;
    without one the rate is 0 and the others are of the widest movement that turns as often with smaller legs, down to
    an eighth of the hysteresis; without that, 0 and null. Null means not run: below 8 Hz for swing and sway, no stretch
    long enough, a lag that cannot be told.

    Args:
        case: id of the case.
        rung: the candidate's rung.
        reference: the rung it was compared with.
        grid: thresholds, among them the hysteresis of the zigzag.
        owned: whether what the reference does by itself is left out; not between repeats of one engine.
    """

    def __init__(self, *, case: str, rung: str, reference: str, grid: Grid, owned: bool = True) -> None:
        self._known = {"case": case, "rung": rung, "reference": reference}
        self._grid, self._owned = grid, owned
        self._look_ahead: tuple[float, ...] = ()
        self._lines: dict[int, list[PooledLine]] = {}
        self._toggles: dict[int, Toggles] = {}
        self._blinks: dict[int, tuple[int, int]] = {}  # first and last frame in which the candidate comes or goes

    def add(self, store: SeriesStore) -> None:
        """Measure the series of a section."""
        self._look_ahead = store.look_ahead
        for series in store.tracks():
            if series.fresh < len(series.frame):
                self._add_track(series)
            del series  # before the next one is made dense

    def table(self, log: EventLog | None = None) -> pl.DataFrame:
        """One row for every track and look-ahead station.

        Args:
            log: takes the events of every owner: swings, flicker, and those of the measures with a threshold.

        Returns:
            Columns and order of tables.TABLES["series_metrics"].
        """
        lags = agreed_lags([look for lines in self._lines.values() for line in lines for look in line.looks])
        rows, judged = [], events_of("series_metrics")
        for track, lines in self._lines.items():
            per_min = self._toggles[track].per_min(lines[0].fps)
            if log is not None:
                self._log_flicker(log, track, per_min)
            for line in lines:
                told, lags = lags[: len(line.looks)], lags[len(line.looks) :]
                rows.append(self._row(line, per_min, told))
                if log is not None:
                    self._log_over(log, line, rows[-1], judged)
        found = [{k: _null(v) for k, v in row.items()} for row in rows]
        return pl.DataFrame(found, schema=TABLES["series_metrics"]).sort(*SORT_KEYS["series_metrics"])

    def _add_track(self, series: TrackSeries) -> None:
        lines = self._lines.setdefault(series.track, [_line(series, k) for k in range(len(self._look_ahead))])
        toggles = Toggles.of(series.in_candidate, series.in_reference, series.fresh)
        self._toggles[series.track] = self._toggles.get(series.track, Toggles()) + toggles
        change = np.flatnonzero(series.in_candidate[1:] != series.in_candidate[:-1]) + 1
        if len(change):
            first, last = int(series.frame[change[0]]), int(series.frame[change[-1]])
            self._blinks[series.track] = (self._blinks.get(series.track, (first, last))[0], last)
        measured = len(series.frame) >= SHORTEST_S * series.fps
        for line in lines:
            _count(line, series)
            if measured:
                _measure(line, series, _block(series, line.station, self._grid, self._owned))

    def _row(self, line: PooledLine, per_min: float, lags: Sequence[float]) -> dict[str, Any]:
        known = np.array(lags)[np.isfinite(lags)]
        return {
            **self._known,
            "track": line.track,
            "station": self._look_ahead[line.station],
            "fps": line.fps,
            "frames": line.frames,
            "reference_frames": line.reference_frames,
            "reference_run_s": line.reference_run_s,
            "toggles_per_min": per_min,
            "lag_frames": float(np.median(known)) if len(known) else None,
            **{m.column: _value(line, m) for m in computed("series_metrics")},
            **_swing_columns(line),
        }

    def _log_flicker(self, log: EventLog, track: int, per_min: float) -> None:
        if per_min >= FLICKER_PER_MIN and self._toggles[track].excess >= FLICKER_TOGGLES:
            first, last = self._blinks[track]
            log.add(Event("flicker", first, last, track, -1, per_min, FLICKER_PER_MIN))

    def _log_over(self, log: EventLog, line: PooledLine, row: dict[str, Any], judged: Sequence[Measure]) -> None:
        """Swings; and measures over their threshold: where they say where, else over all frames of the line."""
        for f in line.found.get(SWING, ()):
            threshold = self._grid.thresholds.swing[line.band]
            log.add(Event(SWING, f.first, f.last, line.track, line.band, f.value, threshold, f.owner))
        for m in judged:
            value = row[m.column]
            assert m.threshold is not None  # events_of chose it so
            threshold = m.threshold.of(self._grid)[line.band]
            whole = [] if value is None else [Found(line.first, line.last, abs(value), "candidate")]
            for f in line.found.get(m.name, whole):
                if f.value > threshold * (1 + ROUNDING):
                    log.add(Event(m.name, f.first, f.last, line.track, line.band, f.value, threshold, f.owner))


def sway_of(block: StationBlock) -> float | None:
    """Sway of the offset; None below 8 Hz."""
    return sway(*sway_sums(block.offset, block.fps)) if block.fps >= MIN_FPS else None


def _block(series: TrackSeries, k: int, grid: Grid, owned: bool) -> StationBlock:
    seen = [x[:, k].astype(np.float64) for x in (series.offset, series.candidate, series.reference)]
    offset, candidate, reference = without_renames(
        seen[0], seen[1], seen[2], series.fps, grid.thresholds.match_gate / float(grid.series_scale[k])
    )
    band = min(k, 2)
    lasting = offset
    if owned:
        limit = find_measure("bias").threshold
        assert limit is not None  # bias has one
        truth = series.truth[:, k].astype(np.float64)
        lasting = lasting_offset(offset, reference, truth, series.fps, limit.of(grid)[band])
    curvature, ego = _curvature(series, grid), series.ego[:, k]
    return StationBlock(
        offset, candidate, reference, lasting, curvature, ego, series.fps, band, grid, owned, series.fresh
    )  # fmt: skip


def _curvature(series: TrackSeries, grid: Grid) -> NDArray[np.float64]:
    """Change of direction of the reference's line over the look-ahead stations of the bands, [steps]."""
    slope = np.diff(series.reference[:, :3].astype(np.float64), axis=1) / np.diff(grid.look_ahead)
    return np.asarray(slope[:, 1] - slope[:, 0])


def _line(series: TrackSeries, station: int) -> PooledLine:
    return PooledLine(series.track, station, series.fps, int(series.frame[0]), int(series.frame[-1]))


def _count(line: PooledLine, series: TrackSeries) -> None:
    line.last = int(series.frame[-1])
    line.frames += int(np.isfinite(series.offset[series.fresh :, line.station]).sum())
    known = np.isfinite(series.reference[:, line.station])
    line.reference_frames += int(known[series.fresh :].sum())
    start, stop = runs_of(known)
    if len(start) and series.fps > 0:
        line.reference_run_s = max(line.reference_run_s, float((stop - start).max()) / series.fps)


def _measure(line: PooledLine, series: TrackSeries, block: StationBlock) -> None:
    """Everything of one section that a line and station has a measure of."""
    context, settled = int(series.frame[0]), int(series.frame[(series.fresh + 1) // 2])
    alone = block.without_context()
    for m in computed("series_metrics"):
        told = m.function(block if m.pooled == "max" else alone)
        if isinstance(told, list):
            found = [_found(series, s.start, s.stop, s.value, s.owner) for s in told]
            line.find(m.name, found, context, settled)
        else:
            line.number(m.name, told, int(np.isfinite(alone.offset).sum()))
    line.looks.append(
        look_for_lag(block.candidate, block.reference, block.fps, _STILL * block.grid.thresholds.swing[block.station])
    )  # fmt: skip
    candidate, reference = block.own()
    swings = find_swings(
        _without_wrong_partners(series, block),
        series.fps,
        block.grid.thresholds.swing[block.station],
        candidate=candidate if block.owned else None,
        reference=reference if block.owned else None,
        fresh=series.fresh,
    )
    if swings is not None:
        line.swing_steps += swings[2]
        for name, some in ((SWING, swings[0]), (SMALL_SWING, swings[1])):
            found = [_found(series, s.start, s.stop, s.pp, s.owner, s.hz) for s in some]
            line.find(name, found, context, settled)


def _without_wrong_partners(series: TrackSeries, block: StationBlock) -> NDArray[np.float64]:
    """The offset; at a merge or split without frames that stand out: there a line may have the other's partner."""
    if not series.merging.any():
        return block.offset
    return np.where(series.merging, without_glitches(block.offset, block.fps), block.offset)


def _found(
    series: TrackSeries, start: int, stop: int, value: float, owner: Owner, hz: float = float("nan")
) -> Found:  # fmt: skip
    return Found(int(series.frame[start]), int(series.frame[stop]), value, owner, hz)


def _value(line: PooledLine, measure: Measure) -> float | None:
    return line.largest(measure.name) if measure.name in line.found else line.pooled(measure.name, measure.pooled)


def _swing_columns(line: PooledLine) -> dict[str, float | None]:
    if SWING not in line.found:
        return {"swing_rate": None, "swing_pp": None, "swing_hz": None}
    own, small = ([f for f in line.found[name] if f.owner == "candidate"] for name in (SWING, SMALL_SWING))
    widest = max(own or small, key=lambda f: f.value, default=None)
    minutes = line.swing_steps / line.fps / 60
    return {
        "swing_rate": len(own) / minutes if minutes else 0.0,
        "swing_pp": widest.value if widest else 0.0,
        "swing_hz": widest.hz if widest else None,
    }


def _null(value: Any) -> Any:
    return None if isinstance(value, float) and math.isnan(value) else value
