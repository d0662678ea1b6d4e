"""Offset, bend, swing and jitter of every line over time, small enough to embed: one trace per rung, track and band.

Offset and bend are those of line_metrics.parquet. Swing is the offset at the band's look-ahead station behind the
low-pass that the swing detector sees, jitter the size of its second difference as a sigma: the numbers that
harness/measures makes its series of, from the lines of the run. Steps are frames. A clip longer than MAX_POINTS is cut
into buckets, and each keeps its smallest and largest value, so that no peak is lost.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from harness.lines.table import OPEN, LineTable
from harness.measures.jitter import second_difference
from harness.measures.series import MIN_FPS, fill_short_gaps
from harness.measures.spectrum import low_passed
from harness.measures.stations import resample
from harness.measures.swing import BRIDGED_GAP_S, LOW_PASS_HZ, SHORTEST_STRETCH_S
from harness.measures.windows import runs_of
from harness.model.grid import Grid
from harness.report.finding import Tables
from harness.report.packing import series
from harness.run.tables import BANDS

__all__ = ["MAX_POINTS", "SIGNALS", "case_series", "min_max_buckets", "swing_signal"]

SIGNALS = ("offset", "bend", "swing", "jitter")
MAX_POINTS = 1600
_PER_SIGMA = np.sqrt(6)

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def case_series(
    run: Tables,
    case: str,
    lines: pl.DataFrame,
    frames: Ints,
    *,
    fps: float,
    rungs: Sequence[str],
    reference: str,
    grid: Grid,
    quantum: float,
    max_points: int = MAX_POINTS,
) -> tuple[dict[str, Any], dict[str, Ints]]:
    """All traces of one case; lines without a track are no series.

    Args:
        run: gives line_metrics; only the rows of this case are read.
        case: case id.
        lines: rows of lines.parquet of the case (`lines_of_case`).
        frames: numbers of all its frames, increasing.
        fps: frames per second.
        rungs: names of rungs in ladder order; a trace names its rung by position.
        reference: only differences from this rung count.
        grid: of the run.
        quantum: what values are rounded to.
        max_points: limit for each trace.

    Returns:
        (`steps`: place of each point among the frames; `bucketed`; `traces`: rung, track, band), and for each trace
        and signal its stream `INDEX.SIGNAL`, where it has a value at all.
    """
    found = _tabled(run, case, frames, rungs, reference)
    for key, values in _looked_ahead(lines, frames, rungs, reference, grid).items():
        if key in found:
            found[key] |= {"swing": swing_signal(values, fps), "jitter": np.abs(second_difference(values)) / _PER_SIGMA}
    bucketed = len(frames) > max_points
    traces: list[list[Any]] = []
    streams: dict[str, Ints] = {}
    for (rung, track, band), signals in sorted(found.items()):
        for name, values in signals.items():
            kept = min_max_buckets(values, max_points) if bucketed else values
            if np.isfinite(kept).any():
                streams[f"{len(traces)}.{name}"] = series(kept, quantum / 10)
        traces.append([rung, track, BANDS[band]])
    return {"steps": _steps(len(frames), max_points), "bucketed": bucketed, "traces": traces}, streams


def _tabled(
    run: Tables, case: str, frames: Ints, rungs: Sequence[str], reference: str
) -> dict[tuple[int, int, int], dict[str, Floats]]:
    """(rung, track, band) -> offset and bend of every frame, NaN where there is none."""
    rows = (
        run.table("line_metrics")
        .filter(pl.col("case") == case, pl.col("reference") == reference, pl.col("track").is_not_null())
        .filter(pl.col("rung").is_in(list(rungs)), pl.col("band").is_in(list(BANDS)))
        .select("frame", "rung", "track", "band", pl.col("offset_mean", "bend").cast(pl.Float64))
        .collect()
    )
    found: dict[tuple[int, int, int], dict[str, Floats]] = {}
    place = {name: i for i, name in enumerate(rungs)}
    for (rung, track, band), part in rows.partition_by("rung", "track", "band", as_dict=True).items():
        at = np.searchsorted(frames, part["frame"].to_numpy())
        signals = {name: np.full(len(frames), np.nan) for name in ("offset", "bend")}
        for name, column in (("offset", "offset_mean"), ("bend", "bend")):
            signals[name][at] = part[column].fill_null(float("nan")).to_numpy()
        found[place[str(rung)], int(track), BANDS.index(str(band))] = signals
    return found


def _looked_ahead(
    lines: pl.DataFrame, frames: Ints, rungs: Sequence[str], reference: str, grid: Grid
) -> Mapping[tuple[int, int, int], Floats]:
    """(rung, track, band) -> offset at the band's look-ahead station, frame by frame."""
    rows = lines.filter(pl.col("track").is_not_null(), pl.col("topology") == OPEN)
    if not rows.height:
        return {}
    lateral = resample(LineTable.from_polars(rows.drop("line")), grid.look_ahead, grid.frame)
    at = np.searchsorted(frames, rows["frame"].to_numpy())
    place, track = rows["place"].to_numpy(), rows["track"].to_numpy()
    found: dict[tuple[int, int, int], Floats] = {}
    own = list(rungs).index(reference) if reference in rungs else -1
    for number in np.unique(track).tolist():
        known = np.full((len(rungs), len(frames), 3), np.nan)
        mine = track == number
        known[place[mine], at[mine]] = lateral[mine]
        for rung in range(len(rungs)):
            if rung != own:
                for band in range(3):
                    found[rung, int(number), band] = known[rung, :, band] - known[own, :, band]
    return found


def swing_signal(offset: Floats, fps: float) -> Floats:
    """The offset behind the low-pass of the swing detector, stretch by stretch; NaN where it does not look."""
    out = np.full(len(offset), np.nan)
    if not fps >= MIN_FPS:
        return out
    filled = fill_short_gaps(offset, int(BRIDGED_GAP_S * fps + 1e-6))
    for a, b in zip(*runs_of(np.isfinite(filled)), strict=True):
        if b - a >= SHORTEST_STRETCH_S * fps:
            out[a:b] = low_passed(filled[a:b], fps, LOW_PASS_HZ)
    return out


def min_max_buckets(values: Floats, max_points: int) -> Floats:
    """Smallest and largest value of each of max_points // 2 buckets, in the order they occur; NaN where none is.

    Args:
        values: [frames], NaN where missing.
        max_points: even number of points to return.

    Returns:
        [max_points // 2 * 2].
    """
    edges = _edges(len(values), max_points // 2)
    out = np.full(2 * (len(edges) - 1), np.nan)
    for i, (a, b) in enumerate(pairwise(edges.tolist())):
        part = values[a:b]
        finite = np.flatnonzero(np.isfinite(part))
        if len(finite):
            low, high = finite[np.argmin(part[finite])], finite[np.argmax(part[finite])]
            out[2 * i : 2 * i + 2] = part[[min(low, high), max(low, high)]]
    return out


def _steps(frames: int, max_points: int) -> list[float]:
    """Place of each point among the frames; none where each frame has its point; a bucket's two stand at its thirds."""
    return [] if frames <= max_points else [round(p, 2) for p in _thirds(_edges(frames, max_points // 2).tolist())]


def _thirds(edges: Sequence[int]) -> Iterator[float]:
    for a, b in pairwise(edges):
        yield from (a + (b - a) / 3, a + 2 * (b - a) / 3)


def _edges(length: int, buckets: int) -> Ints:
    return np.linspace(0, length, buckets + 1).round().astype(np.int64)
