"""The vehicle's motion from a log of its own: a CSV file with another clock rate than the camera's.

Columns: `timestamp_ns` (the camera's clock) or `time_s` (seconds since the first picture of the recording), and any of
speed_mps, yaw_rate_radps, x_m, y_m, yaw_rad. Values are interpolated linearly to the pictures, angles over their
shorter way; a picture outside the log, or in a gap of more than MAX_GAP_S, has none.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from cases.errors import ImportSourceError
from cases.frame_rows import EGO_COLUMNS
from cases.problem import in_one_line
from trueline._outside import outside
from trueline._reading import read_file

__all__ = ["MAX_GAP_S", "ego_at"]

MAX_GAP_S = 0.5  # a car turns by degrees in longer gaps, which a straight line between two poses does not show

Floats = NDArray[np.float64]


def ego_at(path: Path, timestamps_ns: list[int], begin_ns: int, offset_s: float = 0.0) -> pl.DataFrame:
    """Ego columns at the times of pictures.

    Args:
        path: the CSV file.
        timestamps_ns: of the pictures.
        begin_ns: the first picture of the recording, from which `time_s` counts.
        offset_s: added to the log's times.

    Returns:
        One row per picture, the columns that the log has; null where it knows nothing.

    Raises:
        ImportSourceError: it cannot be read, has no time, no known column, times that do not grow, or no common time.
    """
    log = _read(path)
    times = _times(log, path, begin_ns, offset_s)
    asked = np.asarray(timestamps_ns, np.float64)
    columns = {name: _column(log[name], name, times, asked, path) for name in EGO_COLUMNS if name in log.columns}
    if not columns:
        raise _wrong(path, f"none of its columns {log.columns} is one of {', '.join(EGO_COLUMNS)}")
    if all(bool(np.isnan(values).all()) for values in columns.values()):
        raise _wrong(
            path,
            f"it covers {times[0] / 1e9:.3f} to {times[-1] / 1e9:.3f} s, the pictures {asked[0] / 1e9:.3f} to "
            f"{asked[-1] / 1e9:.3f} s: no picture has a value",
        )
    return pl.DataFrame(columns).with_columns(pl.all().fill_nan(None))


def _read(path: Path) -> pl.DataFrame:
    try:
        content = read_file(path)
    except OSError as error:
        what = f"cannot read it: {error.strerror}"
        raise ImportSourceError(what, where=str(path), remedy="give a CSV file") from error
    with outside(lambda error: _wrong(path, f"no CSV: {in_one_line(error)}")):
        return pl.read_csv(content, infer_schema_length=None)


def _times(log: pl.DataFrame, path: Path, begin_ns: int, offset_s: float) -> Floats:
    """Of the log's rows on the camera's clock, nanoseconds."""
    if "timestamp_ns" in log.columns:
        times = _numbers(log["timestamp_ns"], "timestamp_ns", path)
    elif "time_s" in log.columns:
        times = begin_ns + 1e9 * _numbers(log["time_s"], "time_s", path)
    else:
        raise _wrong(path, f"its columns are {log.columns}, and neither timestamp_ns nor time_s is among them")
    if len(times) < 2 or not np.isfinite(times).all() or (np.diff(times) <= 0).any():
        raise _wrong(path, "its times must be at least two numbers that grow")
    return times + 1e9 * offset_s


def _column(values: pl.Series, name: str, times: Floats, asked: Floats, path: Path) -> Floats:
    known = _numbers(values, name, path)
    kept = np.isfinite(known)
    if not kept.any():
        return np.full(len(asked), np.nan)
    at, known = times[kept], known[kept]
    if name == "yaw_rad":
        known = np.unwrap(known)
    found = np.interp(asked, at, known, left=np.nan, right=np.nan)
    after = np.clip(np.searchsorted(at, asked, side="left"), 0, len(at) - 1)
    before = np.clip(np.searchsorted(at, asked, side="right") - 1, 0, len(at) - 1)
    found[at[after] - at[before] > 1e9 * MAX_GAP_S] = np.nan
    return np.arctan2(np.sin(found), np.cos(found)) if name == "yaw_rad" else found


def _numbers(values: pl.Series, name: str, path: Path) -> Floats:
    if not values.dtype.is_numeric():
        raise _wrong(path, f"column {name!r} holds {values.dtype}, not numbers")
    return values.cast(pl.Float64).fill_null(float("nan")).to_numpy()


def _wrong(path: Path, what: str) -> ImportSourceError:
    return ImportSourceError(what, where=str(path), remedy="see docs/cases.md, Ego motion from a log")
