"""Rows of a few whole cases, put in order once for every question that is asked of them.

A stretch is the rows of one case, rung, reference, place (band, station, output, ...) and track, in time order. What a
question is about is whole stretches, and whatever it asks of a column is of stretches first: their worst values, sums
and counts are computed once for a column, however many questions ask for them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

__all__ = ["KEYS", "NO_ROW", "Column", "Floats", "Ints", "Stretches", "worst_of_parts"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

NO_ROW = np.iinfo(np.int64).max

KEYS = ("case", "rung", "reference", "band", "station", "output", "signal", "probe", "metric", "track")
_MOST_CODES = 2**62


class Stretches:
    """Rows of a table, at least one, and the stretches they are.

    Attributes:
        rows: the rows, in the table's order.
        order: place in `rows` of each row, stretch by stretch.
        starts: where in `order` each stretch begins.
        keys: of each stretch, the columns that its rows have in common.
        cases: of each stretch, a number that is the same in one case and rung; it never falls.
    """

    def __init__(self, rows: pl.DataFrame) -> None:
        names = [name for name in KEYS if name in rows.columns]
        codes = _codes(rows.select(names))
        self.rows = rows
        self.order: Ints = np.argsort(codes, kind="stable")
        self.starts = _changes(codes[self.order])
        self.keys = rows.select(names)[self.order[self.starts]]
        self.cases = _numbered(self.keys, ("case", "rung"))
        self._columns: dict[tuple[str, bool, bool], Column] = {}
        self._known: dict[str, NDArray[np.bool_]] = {}
        self._once: dict[str, Any] = {}

    def __len__(self) -> int:
        return len(self.starts)

    @cached_property
    def lengths(self) -> Ints:
        """Rows of each stretch."""
        return np.diff(np.append(self.starts, len(self.order)))

    @cached_property
    def of_rows(self) -> Ints:
        """The stretch of each row, in the order of `order`."""
        return np.repeat(np.arange(len(self)), self.lengths)

    @cached_property
    def places(self) -> Ints:
        """Of each stretch, a number that is the same for all tracks of one case, rung, reference and place."""
        return _numbered(self.keys, tuple(name for name in self.keys.columns if name != "track"))

    def ordered(self, column: pl.Series) -> NDArray[Any]:
        """A column of `rows` without nulls, stretch by stretch."""
        return column.to_numpy()[self.order]

    def in_table_order(self, of_stretches: Ints) -> Ints:
        """What stretches have, of each row in the table's order."""
        of_rows = np.empty(len(self.order), np.int64)
        of_rows[self.order] = np.repeat(of_stretches, self.lengths)
        return of_rows

    def known(self, name: str) -> NDArray[np.bool_]:
        """Which rows have a value in a column, be it NaN, stretch by stretch."""
        if name not in self._known:
            self._known[name] = self.ordered(self.rows[name].is_not_null())
        return self._known[name]

    def sums(self, per_row: NDArray[Any]) -> NDArray[Any]:
        """Sum over each stretch of one number a row, given stretch by stretch."""
        return np.add.reduceat(per_row, self.starts)

    def once(self, name: str, make: Callable[[Stretches], Any]) -> Any:
        """What `make` gives, made when it is first asked for."""
        if name not in self._once:
            self._once[name] = make(self)
        return self._once[name]

    def column(self, name: str, *, signed: bool, higher_is_worse: bool) -> Column:
        """A measure's column; `signed`: its size."""
        asked = (name, signed, higher_is_worse)
        if asked not in self._columns:
            self._columns[asked] = Column(self, *asked)
        return self._columns[asked]


class Column:
    """What every question may ask of a column of numbers, of each stretch, computed when it is first asked.

    Attributes:
        numbers: the values, stretch by stretch; NaN where there is none.
        known: which rows have a value, be it NaN.
    """

    def __init__(self, stretches: Stretches, name: str, signed: bool, higher_is_worse: bool) -> None:
        self._stretches = stretches
        self.higher_is_worse = higher_is_worse
        column = stretches.rows[name]
        self.known = stretches.known(name)
        self._raw = column.abs() if signed else column
        self.cache: dict[Any, Any] = {}

    @cached_property
    def series(self) -> pl.Series:
        """The values in the table's order."""
        return self._raw.cast(pl.Float64)

    @cached_property
    def numbers(self) -> Floats:
        """The values, stretch by stretch; NaN where there is none."""
        return self._stretches.ordered(self.series)

    @cached_property
    def counts(self) -> Ints:
        """Values of each stretch."""
        return self._stretches.sums(self.known.astype(np.int64))

    @cached_property
    def sums(self) -> Floats:
        """Sum of the values of each stretch."""
        return self._stretches.sums(np.where(self.known, self.numbers, 0.0))

    @cached_property
    def nonfinite(self) -> Ints:
        """Values of each stretch that are NaN, or infinite on the bad side."""
        bad = self.known & (np.isnan(self.numbers) | (self.numbers == (np.inf if self.higher_is_worse else -np.inf)))
        return self._stretches.sums(bad.astype(np.int64))

    @cached_property
    def worst(self) -> tuple[Floats, Ints]:
        """The worst value of each stretch, and its row."""
        stretches = self._stretches
        return worst_of_parts(self.numbers, stretches.order, stretches.starts, higher=self.higher_is_worse)


def worst_of_parts(values: Floats, rows: Ints, starts: Ints, *, higher: bool) -> tuple[Floats, Ints]:
    """The worst value of each part of an array, and the row it is in: of several that are equal, the first.

    Args:
        values: NaN where there is none.
        rows: the row of each value.
        starts: where each part begins; none is empty.
        higher: whether higher is worse.

    Returns:
        NaN and NO_ROW for a part without any value.
    """
    size = np.where(np.isnan(values), -np.inf, values if higher else -values)
    worst = np.maximum.reduceat(size, starts)
    lengths = np.diff(np.append(starts, len(values)))
    equal = (size == np.repeat(worst, lengths)) & ~np.isnan(values)
    first = np.minimum.reduceat(np.where(equal, rows, NO_ROW), starts)
    return np.where(first == NO_ROW, np.nan, worst if higher else -worst), first


def _codes(keys: pl.DataFrame) -> Ints:
    """One number for each row, the same where all columns are; rows of one case and rung have neighbouring ones."""
    codes = np.zeros(keys.height, np.int64)
    span = 1
    for column in keys:
        own, size = _dense(column)
        if span * size > _MOST_CODES:
            codes = np.unique(codes, return_inverse=True)[1].astype(np.int64)
            span = int(codes.max()) + 1
        codes, span = codes * size + own, span * size
    return codes


def _dense(column: pl.Series) -> tuple[Ints, int]:
    """Numbers from 0 that tell the values of a column apart, null among them, and how many may be needed."""
    if column.eq_missing(column[0]).all():  # the case of most batches
        return np.zeros(len(column), np.int64), 1
    if column.dtype == pl.String:
        column = column.cast(pl.Categorical).to_physical().cast(pl.Int64)
    elif not column.dtype.is_integer():
        column = column.rank("dense").cast(pl.Int64)
    least = column.min()
    if least is None:
        return np.zeros(len(column), np.int64), 1
    own: Ints = (column.cast(pl.Int64) - least + 1).fill_null(0).to_numpy()
    return own, int(own.max()) + 1


def _changes(codes: NDArray[Any]) -> Ints:
    """Where an array begins to hold another value than before."""
    return np.flatnonzero(np.append(True, codes[1:] != codes[:-1]))


def _numbered(keys: pl.DataFrame, names: Sequence[str]) -> Ints:
    """Of each row a number that grows where any of these columns changes."""
    numbered: Ints = keys.select(pl.struct(names).rle_id()).to_series().to_numpy().astype(np.int64)
    return numbered
