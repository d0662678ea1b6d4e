"""Columns of an opened case: what a replay asks of frames.parquet, as arrays; long ones lie in a file.

A column of a million moments is 8 MB. Past LARGEST_BYTES it is mapped from an unnamed file, so that the system keeps of
it what is being read and a case takes the same memory however long it is. Whoever goes through a column goes a block at
a time.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

__all__ = ["BLOCK_ROWS", "NO_PICTURE", "Columns", "GrowingColumns", "blocks_of", "parked"]

NO_PICTURE = -1
LARGEST_BYTES = 1 << 18
BLOCK_ROWS = 1 << 14


class Columns(NamedTuple):
    """Columns of a case, each as long as it has moments; nobody may write to them.

    Attributes:
        of_moments: frame, timestamp_ns, and the ego columns that know anything, NaN where unknown.
        pictures: by camera, the position in its stream of every moment's picture, NO_PICTURE where there is none.
    """

    of_moments: Mapping[str, NDArray[Any]]
    pictures: Mapping[str, NDArray[np.int64]]

    def between(self, first: int, last: int) -> Columns:
        """The same columns from frame number `first` to `last`, both included."""
        frame = self.of_moments["frame"]
        kept = slice(int(np.searchsorted(frame, first, "left")), int(np.searchsorted(frame, last, "right")))
        return Columns(
            {name: values[kept] for name, values in self.of_moments.items()},
            {name: values[kept] for name, values in self.pictures.items()},
        )


class GrowingColumns:
    """Columns that are written a block at a time, in memory as long as they are short; use it with `with`."""

    def __init__(self) -> None:
        self._files: dict[str, tempfile.SpooledTemporaryFile[bytes]] = {}
        self._types: dict[str, np.dtype[Any]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for file in self._files.values():
            file.close()

    def add(self, name: str, values: NDArray[Any]) -> None:
        """Append values to a column; those of one column are of one type."""
        if name not in self._files:
            self._files[name] = tempfile.SpooledTemporaryFile(LARGEST_BYTES)  # noqa: SIM115  # `with` of the columns
        self._types[name] = values.dtype
        self._files[name].write(np.ascontiguousarray(values).data)

    def done(self) -> dict[str, NDArray[Any]]:
        """All columns in the order in which they came, to which nobody may write; they outlive the `with` block."""
        return {name: self._values(file, self._types[name]) for name, file in self._files.items()}

    def _values(self, file: tempfile.SpooledTemporaryFile[bytes], dtype: np.dtype[Any]) -> NDArray[Any]:
        size = file.tell()
        if size <= LARGEST_BYTES:
            file.seek(0)
            return np.frombuffer(file.read(), dtype)
        file.flush()
        return np.asarray(np.memmap(file, dtype, "r", shape=(size // dtype.itemsize,)))


def parked(values: NDArray[Any]) -> NDArray[Any]:
    """The same values, mapped from a file where they are many; nobody may write to them."""
    with GrowingColumns() as columns:
        columns.add("values", values)
        return columns.done()["values"]


def blocks_of(values: NDArray[Any]) -> Iterator[NDArray[Any]]:
    """A column in blocks of BLOCK_ROWS."""
    return (values[start : start + BLOCK_ROWS] for start in range(0, len(values), BLOCK_ROWS))
