"""frames.parquet: which picture of which camera belongs to which moment, when it was taken, how the vehicle moved.

One row per moment (`frame`) and camera. `index` is the picture's position in that camera's stream: a picture that is
not to be used is an index gap, and a moment without a picture of some camera has no row for it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path

import polars as pl

from cases.errors import CaseFileError
from cases.problem import Problem, in_one_line
from trueline._outside import outside
from trueline._reading import read_file

__all__ = [
    "EGO_COLUMNS",
    "FRAME_COLUMNS",
    "frame_problems",
    "in_order",
    "moments",
    "rate_problems",
    "read_table",
    "single_camera",
    "size_problems",
]

FRAME_COLUMNS: dict[str, type[pl.DataType]] = {
    "frame": pl.Int64,
    "timestamp_ns": pl.Int64,
    "camera": pl.String,
    "index": pl.Int64,
}
EGO_COLUMNS: dict[str, type[pl.DataType]] = dict.fromkeys(
    ("speed_mps", "yaw_rate_radps", "x_m", "y_m", "yaw_rad"), pl.Float64
)

MIN_STEPS = 3  # fewer say nothing of a rate
RATE_TOLERANCE = 0.02

_COLUMN_REMEDY = "write the columns of docs/cases.md, section frames.parquet"
_ORDER_REMEDY = "sort by time and drop repeated rows, then seal the case again; or import the recording again"


def read_table(path: Path) -> pl.DataFrame:
    """A Parquet file of a case.

    Raises:
        CaseFileError: the file is missing or is not Parquet.
    """
    told = partial(CaseFileError, where=str(path), remedy="restore it or import again")
    try:
        content = read_file(path)
    except OSError as error:
        raise told(f"cannot read {path.name}: {error.strerror}") from error
    with outside(lambda error: told(f"{path.name} is not Parquet: {in_one_line(error)}")):
        return pl.read_parquet(content)


def single_camera(timestamps_ns: list[int], camera: str) -> pl.DataFrame:
    """Frames of a recording of one camera whose pictures are all used, numbered from 0."""
    count = len(timestamps_ns)
    return pl.DataFrame(
        {"frame": range(count), "timestamp_ns": timestamps_ns, "camera": [camera] * count, "index": range(count)},
        schema=FRAME_COLUMNS,
    )


def frame_problems(frames: pl.DataFrame, cameras: list[str], where: str) -> list[Problem]:
    """Everything wrong with a frames table, given the cameras of case.toml; the order of its rows is free."""
    problems = list(_column_problems(frames, where))
    if problems:
        return problems
    if frames.is_empty():
        return [Problem("the case has no frames", where, "import a recording with at least one frame")]
    problems += _null_problems(frames, where)
    problems += size_problems(frames, FRAME_COLUMNS, where)
    if not problems:
        problems += _camera_problems(frames, cameras, where)
        problems += _order_problems(frames, where)
    return problems


def _column_problems(frames: pl.DataFrame, where: str) -> Iterator[Problem]:
    """Missing, unknown and wrongly typed columns."""
    for name in sorted(FRAME_COLUMNS.keys() - set(frames.columns)):
        yield Problem(f"column {name!r} is missing", where, _COLUMN_REMEDY)
    for name, dtype in frames.schema.items():
        wanted = {**FRAME_COLUMNS, **EGO_COLUMNS}.get(name)
        if wanted is None:
            yield Problem(f"unknown column {name!r}", where, "remove it")
        elif not _is_kind_of(dtype, wanted):
            yield Problem(f"column {name!r} is {dtype}, must be {wanted.__name__}", where, _COLUMN_REMEDY)


def _is_kind_of(dtype: pl.DataType, wanted: type[pl.DataType]) -> bool:
    """Integers of any width for Int64, numbers for Float64."""
    if wanted is pl.Int64:
        return dtype.is_integer()
    if wanted is pl.Float64:
        return dtype.is_numeric()
    return dtype == wanted


def _null_problems(frames: pl.DataFrame, where: str) -> Iterator[Problem]:
    for name in FRAME_COLUMNS:
        if nulls := frames[name].null_count():
            yield Problem(f"column {name!r} has {nulls} nulls", where, "fill them; only ego columns may be null")


def size_problems(
    table: pl.DataFrame, columns: Mapping[str, pl.DataType | type[pl.DataType]], where: str
) -> Iterator[Problem]:
    """Whole numbers that the type of their column cannot hold."""
    for name, wanted in columns.items():
        if name in table.columns and table[name].dtype.is_integer():
            values = table[name]
            if lost := values.cast(wanted, strict=False).null_count() - values.null_count():
                yield Problem(f"column {name!r} has {lost} numbers that {wanted} cannot hold", where, _COLUMN_REMEDY)


def _camera_problems(frames: pl.DataFrame, cameras: list[str], where: str) -> Iterator[Problem]:
    """Rows of cameras that case.toml does not have, and cameras without rows."""
    seen = set(frames["camera"].unique().to_list())
    for name in sorted(seen - set(cameras)):
        yield Problem(
            f"camera {name!r} is not one of {cameras}", f"{where}, camera", "add it to case.toml or remove its rows"
        )
    for name in sorted(set(cameras) - seen):
        yield Problem(f"camera {name!r} has no frames", f"{where}, camera", "remove it from case.toml or add its rows")


def _order_problems(frames: pl.DataFrame, where: str) -> Iterator[Problem]:
    """Within a camera frame, timestamp and index grow together; moments follow each other in time."""
    for camera, rows in _by_camera(in_order(frames)):
        for column in ("frame", "timestamp_ns", "index"):
            yield from _growth_problems(rows, column, f"{where}, camera {camera}")
        if (lowest := int(rows["index"].min())) < 0:  # type: ignore[arg-type]  # polars types min() too widely
            yield Problem(f"index {lowest} is negative", f"{where}, camera {camera}", _ORDER_REMEDY)
    if frames["camera"].n_unique() > 1:
        yield from _growth_problems(moments(frames), "timestamp_ns", f"{where}, moments")


def _by_camera(frames: pl.DataFrame) -> Iterator[tuple[str, pl.DataFrame]]:
    """Rows of each camera; those of the only one are not copied."""
    if frames["camera"].n_unique() == 1:
        yield frames["camera"][0], frames
        return
    for (camera,), rows in frames.group_by("camera", maintain_order=True):
        yield str(camera), rows


def in_order(frames: pl.DataFrame) -> pl.DataFrame:
    """Rows in the order of frames; those that are in order are not copied."""
    return frames if frames["frame"].is_sorted() else frames.sort("frame", maintain_order=True)


def _growth_problems(rows: pl.DataFrame, column: str, where: str) -> Iterator[Problem]:
    """One problem if a column does not strictly increase, with the first place and the number of places."""
    step = rows[column].cast(pl.Int64).diff()
    bad = (step <= 0).fill_null(False).arg_true()
    if len(bad):
        at = int(bad[0])
        yield Problem(
            f"{column} does not increase: {rows[column][at - 1]} is followed by {rows[column][at]}"
            f" ({len(bad)} such places)",
            f"{where}, frame {rows['frame'][at]}",
            _ORDER_REMEDY,
        )


def rate_problems(frames: pl.DataFrame, fps: float, where: str) -> list[Problem]:
    """Moments whose times contradict the frame rate of case.toml: measures over time would be of another second.

    Compared is the mean step for each frame number over the steps that are near the nominal one, so that dropped
    moments and times in whole milliseconds contradict nothing. Half of the steps elsewhere, or a mean 2 % away, does.
    """
    times = moments(frames)
    step = times.select(step=pl.col("timestamp_ns").diff() / pl.col("frame").diff())["step"].drop_nulls()
    nominal = 1e9 / fps
    near = step.filter(step.is_between(0.5 * nominal, 1.5 * nominal))
    if len(step) < MIN_STEPS:
        return []
    away = abs(_mean(near) / nominal - 1) if 2 * len(near) >= len(step) else 1.0
    if away <= RATE_TOLERANCE:
        return []
    told = 1e9 / float(step.median())  # type: ignore[arg-type]  # polars types median() too widely
    return [
        Problem(
            f"the moments come {told:.4g} times a second, case.toml says fps = {fps:g}",
            where,
            "correct fps in case.toml, or the times, then seal the case again",
        )
    ]


def _mean(values: pl.Series) -> float:
    return float(values.mean())  # type: ignore[arg-type]  # polars types mean() too widely


def moments(frames: pl.DataFrame) -> pl.DataFrame:
    """One row per moment in frame order: frame, timestamp_ns (the earliest of its cameras), ego columns (null unknown).

    Ego motion is taken from the first row of a moment that knows it.
    """
    whole = {name: frames[name].cast(pl.Int64) for name in ("frame", "timestamp_ns")}
    if not (whole["frame"].diff() <= 0).any():  # a row is a moment
        ego = [
            frames[name].cast(pl.Float64) if name in frames.columns else pl.lit(None, pl.Float64).alias(name)
            for name in EGO_COLUMNS
        ]
        return pl.DataFrame(whole).with_columns(ego)
    first = [
        pl.col(name).cast(pl.Float64).drop_nulls().first().alias(name)
        if name in frames.columns
        else pl.lit(None, pl.Float64).alias(name)
        for name in EGO_COLUMNS
    ]
    return (
        frames.group_by(pl.col("frame").cast(pl.Int64))
        .agg(pl.col("timestamp_ns").cast(pl.Int64).min(), *first)
        .sort("frame")
    )
