"""A finding drawn: what its measure measures, as strokes in the frame of the lines, with its number.

Of a bend its chord and the height above it; of an offset the gap to the reference; of a heading the turned line; of
what happens over time the width it moves through at the look-ahead; of a missing or extra line the line. The strokes
are computed from the lines of the frame; the number is the finding's own.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from itertools import combinations
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from harness.lines.table import OPEN, LineTable
from harness.measures.stations import resample
from harness.model.grid import STATIONS_PER_BAND, Grid
from harness.report.finding import WorstFrame
from harness.run.catalogue import measures
from harness.run.tables import BANDS

__all__ = ["Mark", "mark_of"]

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Mark:
    """Strokes of one finding.

    Attributes:
        strokes: (kind, points [n, 2] in the frame of the lines): `chord` what is measured from, `gap` what is measured,
            `line` the line or part of it that is meant.
        at: where the number stands, [2]; None where nothing can be drawn.
    """

    strokes: tuple[tuple[str, Floats], ...] = ()
    at: Floats | None = None

    def to_json(self) -> dict[str, Any]:
        """For the page."""
        return {
            "strokes": [[kind, np.round(points, 3).tolist()] for kind, points in self.strokes],
            "at": None if self.at is None else np.round(self.at, 3).tolist(),
        }


@dataclass(frozen=True)
class _Pair:
    """One line of the rung and of the reference in one band: lateral positions, left positive, [stations]."""

    station: Floats
    own: Floats
    lab: Floats

    @property
    def gap(self) -> Floats:
        return self.own - self.lab


def mark_of(found: WorstFrame, lines: pl.DataFrame, reference: str, grid: Grid) -> Mark:
    """The strokes of a finding; none where its lines are not there.

    Args:
        found: the finding and its frame.
        lines: rows of lines.parquet of its case.
        reference: the rung it was measured against.
        grid: of the run.
    """
    here = lines.filter(pl.col("frame") == found.frame)
    if found.kind in ("missing", "extra"):
        return _presence(found, here, reference, grid)
    if found.track is None:
        return Mark()
    pair = _pair(found, here, reference, grid)
    if pair is None:
        return _line_itself(_of_track(here, found.rung, found.track), grid)
    if found.kind in ("bend", "bend_rms", "largest_bend"):
        return _bend(found, here, reference, grid, pair)
    if found.kind == "heading":
        return _heading(pair, grid)
    if found.kind in ("offset_mean", "offset_max", "largest_offset", "chamfer", "lateral_mae"):
        return _offset(pair, grid)
    if found.kind == "reach_gap":
        return _reach(found, here, reference, grid)
    if found.kind == "swing" or _is_over_time(found.kind):
        return _over_time(found, lines, reference, grid) or _offset(pair, grid)
    return Mark((("line", _joined(pair.station, pair.own, grid)),), _joined(pair.station, pair.own, grid)[-1])


def _is_over_time(kind: str) -> bool:
    """Whether it is a measure of a line over time, not of one frame."""
    return kind in measures() and measures()[kind].table == "series_metrics"


def _pair(
    found: WorstFrame, rows: pl.DataFrame, reference: str, grid: Grid, stations: Floats | None = None
) -> _Pair | None:
    """Both lines at the stations of the finding's band (all bands where it has none); None where one is missing."""
    if found.track is None:
        return None
    if stations is None:
        stations = grid.stations[BANDS.index(found.band)] if found.band in BANDS else grid.stations.reshape(-1)
    lateral = [_lateral(_of_track(rows, rung, found.track), stations, grid) for rung in (found.rung, reference)]
    if any(one is None for one in lateral):
        return None
    own, lab = lateral[0], lateral[1]
    assert own is not None  # as above
    assert lab is not None  # as above
    both = np.isfinite(own) & np.isfinite(lab)
    return _Pair(stations[both], own[both], lab[both]) if both.sum() >= 2 else None


def _of_track(rows: pl.DataFrame, rung: str, track: int | None) -> pl.DataFrame:
    same = pl.col("track").is_null() if track is None else pl.col("track") == track
    return rows.filter(pl.col("rung") == rung, same)


def _lateral(rows: pl.DataFrame, stations: Floats, grid: Grid) -> Floats | None:
    rows = rows.filter(pl.col("topology") == OPEN)
    if not rows.height:
        return None
    found: Floats = resample(LineTable.from_polars(rows.head(1).drop("line")), stations, grid.frame)[0]
    return found


def _joined(station: Floats, lateral: Floats, grid: Grid) -> Floats:
    """Points (x, y) or (u, v) of lateral positions at stations, [n, 2]."""
    return np.stack([station, lateral] if grid.frame == "vehicle" else [-lateral, station], axis=1)


def _bend(found: WorstFrame, rows: pl.DataFrame, reference: str, grid: Grid, own: _Pair) -> Mark:
    pairs = [own]
    band = BANDS.index(found.band) if found.band in BANDS else 0
    if band:  # a bow may straddle the edge to the nearer band
        middles = grid.stations[band - 1 : band + 1].mean(axis=1)
        across = _pair(found, rows, reference, grid, np.linspace(middles[0], middles[1], STATIONS_PER_BAND))
        pairs += [across] if across is not None else []
    pair = max(pairs, key=lambda p: _widest(p.gap)[0])
    i, j, k = _widest(pair.gap)[1]
    if not k:
        return _offset(own, grid)
    share = (pair.station - pair.station[i]) / (pair.station[k] - pair.station[i])
    chord = pair.lab + pair.gap[i] + share * (pair.gap[k] - pair.gap[i])
    span = slice(i, k + 1)
    gap = _joined(pair.station[[j, j]], np.array([chord[j], pair.own[j]]), grid)
    line = _joined(pair.station[span], pair.own[span], grid)
    return Mark((("chord", _joined(pair.station[span], chord[span], grid)), ("line", line), ("gap", gap)), gap[1])


def _widest(gap: Floats) -> tuple[float, tuple[int, int, int]]:
    """Largest height over a chord, and its three stations."""
    if len(gap) < 3:
        return 0.0, (0, 0, 0)
    i, j, k = _triples(len(gap))
    height = np.abs(gap[j] - gap[i] - (j - i) / (k - i) * (gap[k] - gap[i]))
    best = int(height.argmax())
    return float(height[best]), (int(i[best]), int(j[best]), int(k[best]))


@cache
def _triples(count: int) -> NDArray[np.int64]:
    return np.array(list(combinations(range(count), 3))).T


def _offset(pair: _Pair, grid: Grid) -> Mark:
    """The gap to the reference where it is widest."""
    at = int(np.abs(pair.gap).argmax())
    gap = _joined(pair.station[[at, at]], np.array([pair.lab[at], pair.own[at]]), grid)
    return Mark((("line", _joined(pair.station, pair.own, grid)), ("gap", gap)), gap[1])


def _heading(pair: _Pair, grid: Grid) -> Mark:
    """The line turned by the fitted slope, from the reference's."""
    slope, start = np.polyfit(pair.station, pair.gap, 1)
    turned = pair.lab + start + slope * pair.station
    level = pair.lab + start + slope * pair.station[0]
    gap = _joined(pair.station[[-1, -1]], np.array([level[-1], turned[-1]]), grid)
    strokes = (("chord", _joined(pair.station, level, grid)), ("line", _joined(pair.station, turned, grid)))
    return Mark((*strokes, ("gap", gap)), gap[1])


def _reach(found: WorstFrame, rows: pl.DataFrame, reference: str, grid: Grid) -> Mark:
    """What one of both lines has beyond the end of the other."""
    ends = {rung: _line_itself(_of_track(rows, rung, found.track), grid) for rung in (found.rung, reference)}
    (_, own), (_, lab) = (ends[rung].strokes[0] for rung in (found.rung, reference))
    along, sign = (0, 1) if grid.frame == "vehicle" else (1, -1)
    longer, shorter = (own, lab) if (sign * own[:, along]).max() > (sign * lab[:, along]).max() else (lab, own)
    beyond = longer[sign * longer[:, along] >= (sign * shorter[:, along]).max()]
    return Mark((("gap", beyond),), beyond[len(beyond) // 2]) if len(beyond) > 1 else ends[found.rung]


def _over_time(found: WorstFrame, lines: pl.DataFrame, reference: str, grid: Grid) -> Mark | None:
    """The width that the line moves through about the reference at the look-ahead, over the finding's frames."""
    station = np.array([grid.look_ahead[BANDS.index(found.band) if found.band in BANDS else 1]])
    rows = lines.filter(pl.col("frame").is_between(found.frame_start, found.frame_end), pl.col("track") == found.track)
    rows = rows.filter(pl.col("topology") == OPEN, pl.col("rung").is_in([found.rung, reference]))
    if not rows.height:
        return None
    lateral = resample(LineTable.from_polars(rows.drop("line")), station, grid.frame)[:, 0]
    table = rows.select("frame", "rung").with_columns(y=pl.Series(lateral))
    wide = table.unique(["frame", "rung"]).pivot("rung", index="frame", values="y").drop_nans()
    if not {found.rung, reference} <= set(wide.columns) or not (wide := wide.drop_nulls()).height:
        return None
    gap = (wide[found.rung] - wide[reference]).to_numpy()
    now = wide.filter((pl.col("frame") - found.frame).abs() == (pl.col("frame") - found.frame).abs().min())
    middle = float(now[reference][0])
    span = _joined(np.repeat(station, 2), middle + np.array([min(gap.min(), 0.0), max(gap.max(), 0.0)]), grid)
    return Mark((("gap", span),), span[int(np.abs(gap[[gap.argmin(), gap.argmax()]]).argmax())])


def _presence(found: WorstFrame, rows: pl.DataFrame, reference: str, grid: Grid) -> Mark:
    """The reference's line that the rung lacks, or the rung's that the reference lacks."""
    owner, other = (reference, found.rung) if found.kind == "missing" else (found.rung, reference)
    own = rows.filter(pl.col("rung") == owner)
    have = rows.filter(pl.col("rung") == other)["track"].drop_nulls().to_list()
    if found.track is not None:
        own = own.filter(pl.col("track") == found.track)
    else:
        own = own.filter(pl.col("track").is_null() | ~pl.col("track").is_in(have))
    return _line_itself(own, grid)


def _line_itself(rows: pl.DataFrame, grid: Grid) -> Mark:
    """Whole lines, all of the rows."""
    strokes = []
    for x, y in zip(rows["x"].to_list(), rows["y"].to_list(), strict=True):
        points = np.stack([np.asarray(x or [], np.float64), np.asarray(y or [], np.float64)], axis=1)
        points = points[np.isfinite(points).all(axis=1)]
        if len(points) > 1:
            strokes.append(("line", points))
    return Mark(tuple(strokes), strokes[0][1][len(strokes[0][1]) // 2] if strokes else None)
