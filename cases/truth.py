"""lines.parquet: the ground-truth lines of a case, in the columns of a run's lines without the run.

One row per line of a moment: frame, line (position among the lines of its frame), slot (optional, null for none),
class, score, topology (0 open, 1 closed), x and y (lists of equal length: metres forward and left, or pixels u and v
where case.toml says `truth_frame = "image"`). A moment that was looked at and has no line has one row whose x and y are
empty; a moment without a row was not looked at.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from cases.errors import CaseFileError
from cases.frame_rows import size_problems
from cases.problem import Problem, in_one_line
from trueline._outside import outside
from trueline._reading import read_file
from trueline._text import counted

__all__ = ["TRUTH_COLUMNS", "read_truth", "truth_problems"]

TRUTH_COLUMNS: dict[str, pl.DataType | type[pl.DataType]] = {
    "frame": pl.Int64,
    "line": pl.Int32,
    "slot": pl.Int16,
    "class": pl.Int16,
    "score": pl.Float32,
    "topology": pl.UInt8,
    "x": pl.List(pl.Float32),
    "y": pl.List(pl.Float32),
}
OPTIONAL = {"slot"}

_REMEDY = "write the columns of docs/cases.md, section lines.parquet"


def read_truth(path: Path) -> pl.DataFrame:
    """The lines.parquet of a case, whole.

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


def truth_problems(truth: pl.DataFrame, frames: NDArray[np.int64], where: str) -> list[Problem]:
    """Everything wrong with a truth table, given the numbers of its case's frames, increasing."""
    wrong = list(_column_problems(truth, where)) or list(size_problems(truth, TRUTH_COLUMNS, where))
    return wrong or list(_row_problems(truth, frames, where))


def _column_problems(truth: pl.DataFrame, where: str) -> Iterator[Problem]:
    for name in sorted(TRUTH_COLUMNS.keys() - OPTIONAL - set(truth.columns)):
        yield Problem(f"column {name!r} is missing", where, _REMEDY)
    for name, dtype in truth.schema.items():
        wanted = TRUTH_COLUMNS.get(name)
        if wanted is None:
            yield Problem(f"unknown column {name!r}", where, "remove it")
        elif not _is_kind_of(dtype, wanted):
            yield Problem(f"column {name!r} is {dtype}, must be {wanted}", where, _REMEDY)


def _is_kind_of(dtype: pl.DataType, wanted: pl.DataType | type[pl.DataType]) -> bool:
    """Any integer for an integer, any number for a float, lists of numbers for lists."""
    if isinstance(wanted, pl.List):
        return isinstance(dtype, pl.List) and isinstance(dtype.inner, pl.DataType) and dtype.inner.is_numeric()
    return dtype.is_numeric() if wanted is pl.Float32 else dtype.is_integer()


def _row_problems(truth: pl.DataFrame, frames: NDArray[np.int64], where: str) -> Iterator[Problem]:
    """One problem for every law that some rows break, with their number and the first frame."""
    asked = truth["frame"].cast(pl.Int64).fill_null(0).to_numpy()
    known = pl.lit(pl.Series(frames[np.searchsorted(frames[:-1], asked)] == asked)) | pl.col("frame").is_null()
    broken = {
        "null in a column that must not be": pl.any_horizontal(
            pl.col(name).is_null() for name in TRUTH_COLUMNS.keys() - OPTIONAL
        ),
        "x and y differ in length": pl.col("x").list.len() != pl.col("y").list.len(),
        "a single point": pl.col("x").list.len() == 1,
        "no points beside other lines of the frame": (pl.col("x").list.len() == 0) & pl.col("frame").is_duplicated(),
        "points that are not finite": ~(_all_finite("x") & _all_finite("y")),
        "topology is neither 0 (open) nor 1 (closed)": ~pl.col("topology").is_in([0, 1]),
        "frame is not in frames.parquet": ~known,
        "the same frame and line twice": pl.struct("frame", "line").is_duplicated(),
    }
    for law, breaks in broken.items():
        rows = truth.filter(breaks.fill_null(False))
        if rows.height:
            first = rows["frame"].drop_nulls().head(1).to_list()
            yield Problem(
                f"{law} ({counted(rows.height, 'line')})", f"{where}, frame {(first or ['null'])[0]}", _REMEDY
            )


def _all_finite(column: str) -> pl.Expr:
    return pl.col(column).cast(pl.List(pl.Float64)).list.eval(pl.element().is_finite().fill_null(False)).list.all()
