"""Columns of an opened case: what a replay asks of frames.parquet, as arrays; long ones lie in a file.

A column of a million moments is 8 MB. Past LARGEST_BYTES it is mapped from an unnamed file, so that the system keeps of
it what is being read and a case takes the same memory however long it is.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from cases.frames import EGO_COLUMNS, moments

__all__ = ["NO_PICTURE", "Columns", "columns_of"]

NO_PICTURE = -1
LARGEST_BYTES = 1 << 18


class Columns(NamedTuple):
    """Columns of a case, each as long as it has moments; nobody may write to them.

    Attributes:
        of_moments: frame, timestamp_ns, and the ego columns that know anything, NaN where unknown.
        pictures: by camera, the position in its stream of every moment's picture, NO_PICTURE where there is none.
    """

    of_moments: Mapping[str, NDArray[Any]]
    pictures: Mapping[str, NDArray[np.int64]]


def columns_of(frames: pl.DataFrame, cameras: Sequence[str]) -> Columns:
    """Columns of a checked frames.parquet.

    Args:
        frames: one row per moment and camera, in the order of frames.
        cameras: of the case.
    """
    table = moments(frames)
    known = [name for name in EGO_COLUMNS if table[name].null_count() < table.height]
    of_moments = {name: _parked(table[name].to_numpy()) for name in ("frame", "timestamp_ns", *known)}
    del table
    pictures = {}
    for camera in cameras:
        rows = frames.filter(pl.col("camera") == camera) if len(cameras) > 1 else frames
        at = np.full(len(of_moments["frame"]), NO_PICTURE, np.int64)
        at[np.searchsorted(of_moments["frame"], rows["frame"].to_numpy())] = rows["index"].to_numpy()
        pictures[camera] = _parked(at)
    return Columns(of_moments, pictures)


def _parked(values: NDArray[Any]) -> NDArray[Any]:
    """The same values, mapped from a file where they are many."""
    if values.nbytes <= LARGEST_BYTES:
        return values
    with tempfile.TemporaryFile() as file:
        file.write(np.ascontiguousarray(values).data)
        file.flush()
        return np.asarray(np.memmap(file, values.dtype, "r", shape=values.shape))
