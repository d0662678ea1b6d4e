"""frames.parquet: which picture of which camera belongs to which moment, when it was taken, how the vehicle moved.

One row per moment (`frame`) and camera. `index` is the picture's position in that camera's stream: a picture that is
not to be used is an index gap, and a moment without a picture of some camera has no row for it.

The table is read and checked a block of rows at a time, so that a recording of days takes no more memory than one of
seconds. Rows that are not in the order of frames have their order sorted in memory, 8 bytes a row.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from cases.columns import BLOCK_ROWS, Columns
from cases.errors import CaseFileError
from cases.frame_rows import FRAME_COLUMNS, Rows, gather, moments_of
from cases.problem import Problem, in_one_line
from trueline._machine import machine_error
from trueline._outside import outside
from trueline._reading import open_file

__all__ = ["Frames", "frames_of", "rate_problems", "read_frames", "single_camera"]

MIN_STEPS = 3  # fewer say nothing of a rate
RATE_TOLERANCE = 0.02

_ORDER_REMEDY = "sort by time and drop repeated rows, then seal the case again; or import the recording again"


class Frames(NamedTuple):
    """A frames table.

    Attributes:
        columns: what it says; None where anything is wrong.
        problems: all that is wrong with it.
    """

    columns: Columns | None
    problems: list[Problem]


def single_camera(timestamps_ns: list[int], camera: str) -> pl.DataFrame:
    """Frames of a recording of one camera whose pictures are all used, numbered from 0."""
    count = len(timestamps_ns)
    return pl.DataFrame(
        {"frame": range(count), "timestamp_ns": timestamps_ns, "camera": [camera] * count, "index": range(count)},
        schema=FRAME_COLUMNS,
    )


def read_frames(path: Path, cameras: Sequence[str]) -> Frames:
    """The frames.parquet of a case, given the cameras of case.toml.

    Raises:
        CaseFileError: the file is missing or is not Parquet.
    """
    return frames_of(_blocks(path), cameras, str(path))


def _blocks(path: Path) -> Iterator[pl.DataFrame]:
    """The table in blocks of rows; at least one, which has the columns."""
    told = partial(CaseFileError, where=str(path), remedy="restore it or import again")
    try:
        open_file(path).close()
    except OSError as error:
        raise told(f"cannot read {path.name}: {error.strerror}") from error
    start, height = 0, BLOCK_ROWS
    while height == BLOCK_ROWS:
        with outside(lambda error: machine_error(error) or told(f"{path.name} is not Parquet: {in_one_line(error)}")):
            block = pl.scan_parquet(path, glob=False).slice(start, BLOCK_ROWS).collect()
        yield block
        start, height = start + BLOCK_ROWS, block.height


def frames_of(blocks: Iterable[pl.DataFrame], cameras: Sequence[str], where: str) -> Frames:
    """A frames table, given the cameras of case.toml; the order of its rows is free.

    Args:
        blocks: the table, some rows after the other; at least one block.
        cameras: names in case.toml.
        where: of the table, for problems.
    """
    rows, problems = gather(blocks, cameras, where)
    problems += () if rows is None else _order_problems(rows, cameras, where)
    if rows is None or problems:
        return Frames(None, problems)
    columns = moments_of(rows, cameras)
    problems += _moment_problems(columns, where) if len(cameras) > 1 else ()
    return Frames(None if problems else columns, problems)


def _order_problems(rows: Rows, cameras: Sequence[str], where: str) -> Iterator[Problem]:
    """Within a camera frame, timestamp and index grow together."""
    for code, camera in enumerate(cameras):
        grown = {name: _Growth(name) for name in ("frame", "timestamp_ns", "index")}
        lowest = 0
        for block in rows.blocks(code):
            for name, growth in grown.items():
                growth.add(block.integers[name], block.integers["frame"])
            lowest = min(lowest, int(block.integers["index"].min()))
        for growth in grown.values():
            yield from growth.problems(f"{where}, camera {camera}")
        if lowest < 0:
            yield Problem(f"index {lowest} is negative", f"{where}, camera {camera}", _ORDER_REMEDY)


def _moment_problems(columns: Columns, where: str) -> Iterator[Problem]:
    """Moments follow each other in time."""
    growth = _Growth("timestamp_ns")
    for frames, times_ns in _moment_blocks(columns):
        growth.add(times_ns, frames)
    yield from growth.problems(f"{where}, moments")


def _moment_blocks(columns: Columns) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    frames, times_ns = (columns.of_moments[name] for name in ("frame", "timestamp_ns"))
    for start in range(0, len(frames), BLOCK_ROWS):
        block = slice(start, start + BLOCK_ROWS)
        yield frames[block], times_ns[block]


class _Growth:
    """Whether a column strictly increases, told block by block: the first place where not, and how many there are."""

    def __init__(self, column: str) -> None:
        self._column = column
        self._last = np.zeros(0, np.int64)
        self._first: tuple[int, int, int] | None = None
        self._places = 0

    def add(self, values: NDArray[np.int64], frames: NDArray[np.int64]) -> None:
        """Look at the next values, of these frames."""
        before = np.concatenate([self._last, values[:-1]])
        skipped = len(values) - len(before)  # 1 at the first block: its first value follows nothing
        bad = np.flatnonzero(values[skipped:] <= before)
        if len(bad) and self._first is None:
            at = int(bad[0])
            self._first = (int(before[at]), int(values[skipped + at]), int(frames[skipped + at]))
        self._places += len(bad)
        self._last = values[-1:].copy()

    def problems(self, where: str) -> Iterator[Problem]:
        """At most one."""
        if self._first is not None:
            before, after, frame = self._first
            yield Problem(
                f"{self._column} does not increase: {before} is followed by {after} ({self._places} such places)",
                f"{where}, frame {frame}",
                _ORDER_REMEDY,
            )


def rate_problems(columns: Columns, fps: float, where: str) -> list[Problem]:
    """Moments whose times contradict the frame rate of case.toml: measures over time would be of another second.

    Compared is the mean step for each frame number over the steps that are near the nominal one, so that dropped
    moments and times in whole milliseconds contradict nothing. Half of the steps elsewhere, or a mean 2 % away, does.
    """
    nominal, count, near_count, near_sum = 1e9 / fps, 0, 0, 0.0
    for steps in _steps(columns):
        near = steps[(steps >= 0.5 * nominal) & (steps <= 1.5 * nominal)]
        count, near_count, near_sum = count + len(steps), near_count + len(near), near_sum + float(near.sum())
    if count < MIN_STEPS:
        return []
    away = abs(near_sum / near_count / nominal - 1) if 2 * near_count >= count else 1.0
    if away <= RATE_TOLERANCE:
        return []
    told = 1e9 / float(np.median(np.concatenate(list(_steps(columns)))))
    return [
        Problem(
            f"the moments come {told:.4g} times a second, case.toml says fps = {fps:g}",
            where,
            "correct fps in case.toml, or the times, then seal the case again",
        )
    ]


def _steps(columns: Columns) -> Iterator[NDArray[np.float64]]:
    """Nanoseconds from moment to moment, for each frame number, a block at a time."""
    last = np.zeros((2, 0), np.int64)
    for block in _moment_blocks(columns):
        both = np.concatenate([last, np.stack(block)], axis=1)
        frames, times_ns = np.diff(both, axis=1)
        yield times_ns / frames
        last = both[:, -1:]
