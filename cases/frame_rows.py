"""The rows of a frames table as columns of numbers, and the moments that they make.

`gather` takes blocks of a table to rows in the order of frames and tells what no row may say; `moments_of` joins the
rows of each moment. Both hold one block in memory, whatever the length of the table.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from cases.columns import BLOCK_ROWS, NO_PICTURE, Columns, GrowingColumns, blocks_of
from cases.problem import Problem

__all__ = ["EGO_COLUMNS", "FRAME_COLUMNS", "Rows", "gather", "moments_of", "size_problems"]

FRAME_COLUMNS: dict[str, type[pl.DataType]] = {
    "frame": pl.Int64,
    "timestamp_ns": pl.Int64,
    "camera": pl.String,
    "index": pl.Int64,
}
EGO_COLUMNS: dict[str, type[pl.DataType]] = dict.fromkeys(
    ("speed_mps", "yaw_rate_radps", "x_m", "y_m", "yaw_rad"), pl.Float64
)
INTEGERS = ("frame", "timestamp_ns", "index")

_COLUMN_REMEDY = "write the columns of docs/cases.md, section frames.parquet"


class Rows(NamedTuple):
    """Rows of a frames table, a column each.

    Attributes:
        camera: its place among the cameras of case.toml, -1 for another.
        integers: frame, timestamp_ns, index.
        ego: ego columns that the table has, NaN where unknown.
    """

    camera: NDArray[np.int16]
    integers: Mapping[str, NDArray[np.int64]]
    ego: Mapping[str, NDArray[np.float64]]

    def taken(self, at: slice | NDArray[Any]) -> Rows:
        """Some of the rows."""
        return Rows(
            self.camera[at],
            {name: values[at] for name, values in self.integers.items()},
            {name: values[at] for name, values in self.ego.items()},
        )

    def blocks(self, camera: int) -> Iterator[Rows]:
        """The rows of one camera, a block at a time, none of them empty."""
        for start in range(0, len(self.camera), BLOCK_ROWS):
            block = self.taken(slice(start, start + BLOCK_ROWS))
            mine = block.camera == camera
            if mine.any():
                yield block if mine.all() else block.taken(mine)


def gather(blocks: Iterable[pl.DataFrame], cameras: Sequence[str], where: str) -> tuple[Rows | None, list[Problem]]:
    """Rows in the order of frames, None where columns are no numbers; and what is wrong, but for their order."""
    with GrowingColumns() as columns:
        gathering = _Gathering(cameras, columns)
        for block in blocks:
            if wrong := list(_column_problems(block.schema, where)):
                return None, wrong
            gathering.add(block)
        if wrong := list(gathering.problems(where)):
            return None, wrong
        return gathering.rows(), list(gathering.camera_problems(where))


class _Gathering:
    """Takes blocks of a table; counts what is null or too large and knows which cameras came."""

    def __init__(self, cameras: Sequence[str], columns: GrowingColumns) -> None:
        self._cameras = list(cameras)
        self._columns = columns
        self._seen: set[str] = set()
        self._nulls = dict.fromkeys(FRAME_COLUMNS, 0)
        self._lost = dict.fromkeys(INTEGERS, 0)
        self._height = 0
        self._sorted = True
        self._last = np.iinfo(np.int64).min

    def add(self, block: pl.DataFrame) -> None:
        """Take the next rows."""
        for name in FRAME_COLUMNS:
            self._nulls[name] += block[name].null_count()
        for name in INTEGERS:
            self._lost[name] += _too_large(block[name], pl.Int64)
            self._columns.add(name, block[name].cast(pl.Int64, strict=False).fill_null(0).to_numpy())
        self._columns.add("camera", self._codes(block["camera"]))
        for name in (name for name in EGO_COLUMNS if name in block.columns):
            self._columns.add(name, block[name].cast(pl.Float64).fill_null(float("nan")).to_numpy())
        self._height += block.height
        self._look_at_order(block["frame"])

    def _codes(self, names: pl.Series) -> NDArray[np.int16]:
        self._seen.update(names.drop_nulls().unique().to_list())
        codes = np.full(len(names), -1, np.int16)
        for code, camera in enumerate(self._cameras):
            codes[(names == camera).fill_null(False).to_numpy()] = code
        return codes

    def _look_at_order(self, frame: pl.Series) -> None:
        if len(frame):
            self._sorted = self._sorted and frame.is_sorted() and (frame[0] or 0) >= self._last
            self._last = frame[-1] or 0

    def problems(self, where: str) -> Iterator[Problem]:
        """What keeps the rows from being numbers."""
        if not self._height:
            yield Problem("the case has no frames", where, "import a recording with at least one frame")
        for name, nulls in self._nulls.items():
            if nulls:
                yield Problem(f"column {name!r} has {nulls} nulls", where, "fill them; only ego columns may be null")
        for name, lost in self._lost.items():
            if lost:
                yield _size_problem(name, lost, pl.Int64, where)

    def camera_problems(self, where: str) -> Iterator[Problem]:
        """Rows of cameras that case.toml does not have, and cameras without rows."""
        for name in sorted(self._seen - set(self._cameras)):
            yield Problem(
                f"camera {name!r} is not one of {self._cameras}",
                f"{where}, camera",
                "add it to case.toml or remove its rows",
            )
        for name in sorted(set(self._cameras) - self._seen):
            yield Problem(
                f"camera {name!r} has no frames", f"{where}, camera", "remove it from case.toml or add its rows"
            )

    def rows(self) -> Rows:
        """All rows; those that are not in the order of frames are sorted."""
        rows = _rows_of(self._columns.done())
        return rows if self._sorted else _in_order(rows)


def _in_order(rows: Rows) -> Rows:
    """Rows in the order of frames, those of one frame in the order of the table."""
    with GrowingColumns() as columns:
        for at in blocks_of(np.argsort(rows.integers["frame"], kind="stable")):
            block = rows.taken(at)
            columns.add("camera", block.camera)
            for name, values in (*block.integers.items(), *block.ego.items()):
                columns.add(name, values)
        return _rows_of(columns.done())


def _rows_of(columns: Mapping[str, NDArray[Any]]) -> Rows:
    return Rows(
        columns["camera"],
        {name: columns[name] for name in INTEGERS},
        {name: values for name, values in columns.items() if name in EGO_COLUMNS},
    )


def _column_problems(schema: Mapping[str, pl.DataType], where: str) -> Iterator[Problem]:
    """Missing, unknown and wrongly typed columns."""
    for name in sorted(FRAME_COLUMNS.keys() - schema.keys()):
        yield Problem(f"column {name!r} is missing", where, _COLUMN_REMEDY)
    for name, dtype in schema.items():
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


def size_problems(
    table: pl.DataFrame, columns: Mapping[str, pl.DataType | type[pl.DataType]], where: str
) -> Iterator[Problem]:
    """Whole numbers that the type of their column cannot hold."""
    for name, wanted in columns.items():
        if name in table.columns and table[name].dtype.is_integer() and (lost := _too_large(table[name], wanted)):
            yield _size_problem(name, lost, wanted, where)


def _too_large(values: pl.Series, wanted: pl.DataType | type[pl.DataType]) -> int:
    return values.cast(wanted, strict=False).null_count() - values.null_count()


def _size_problem(name: str, lost: int, wanted: pl.DataType | type[pl.DataType], where: str) -> Problem:
    return Problem(f"column {name!r} has {lost} numbers that {wanted} cannot hold", where, _COLUMN_REMEDY)


def moments_of(rows: Rows, cameras: Sequence[str]) -> Columns:
    """The moments that rows make: one for each frame, at the earliest time of its cameras.

    Ego motion is that of the first row of a moment that knows it; a column that knows nothing is left out.

    Args:
        rows: in the order of frames; in those of a camera, frames strictly increase.
        cameras: of the case.
    """
    with GrowingColumns() as made, GrowingColumns() as pictures:
        for block in _whole_moments(rows):
            begins = _begins(block.integers["frame"])
            starts, moment = np.flatnonzero(begins), np.cumsum(begins) - 1
            made.add("frame", block.integers["frame"][starts])
            made.add("timestamp_ns", np.minimum.reduceat(block.integers["timestamp_ns"], starts))
            for name, values in block.ego.items():
                made.add(name, _first_known(values, moment, len(starts)))
            for code, camera in enumerate(cameras):
                pictures.add(camera, _pictures(block, block.camera == code, moment, len(starts)))
        told = made.done()
        known = {name: values for name, values in told.items() if name not in rows.ego or _knows_anything(values)}
        return Columns(known, pictures.done())


def _begins(frame: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Rows with which a moment begins."""
    return np.concatenate([[True], frame[1:] != frame[:-1]])


def _pictures(block: Rows, mine: NDArray[np.bool_], moment: NDArray[np.int64], moments: int) -> NDArray[np.int64]:
    """Of each moment the picture that some of the rows tell of."""
    at = np.full(moments, NO_PICTURE, np.int64)
    at[moment[mine]] = block.integers["index"][mine]
    return at


def _whole_moments(rows: Rows) -> Iterator[Rows]:
    """Blocks of rows that cut no moment in two."""
    frame, start = rows.integers["frame"], 0
    while start < len(frame):
        last = frame[min(start + BLOCK_ROWS, len(frame)) - 1]
        stop = int(np.searchsorted(frame, last, "right"))
        yield rows.taken(slice(start, stop))
        start = stop


def _first_known(values: NDArray[np.float64], moment: NDArray[np.int64], moments: int) -> NDArray[np.float64]:
    """Of each moment the first value that is not NaN."""
    found = np.full(moments, np.nan)
    known = np.flatnonzero(~np.isnan(values))[::-1]
    found[moment[known]] = values[known]  # of several the last that is written stays, which is the first in the table
    return found


def _knows_anything(values: NDArray[np.float64]) -> bool:
    return any(bool((~np.isnan(block)).any()) for block in blocks_of(values))
