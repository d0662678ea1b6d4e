"""Lines of many frames, kept as columns: what decoders give and metrics take.

A `LineTable` is ragged: line i owns points `x[start[i]:start[i + 1]]` and the same of `y`. In the vehicle frame x is
forward and y left, metres (ISO 8855); in the image frame x is u (right) and y is v (down), pixels. Lines stand in frame
order. Columns, not objects: a replay handles hundreds of frames at once and must not pay per line in Python.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import polars as pl
from numpy.typing import ArrayLike, NDArray

from harness.errors import MetricError

__all__ = ["CLOSED", "NO_SLOT", "OPEN", "LineTable", "concat"]

OPEN, CLOSED = 0, 1
NO_SLOT = -1


@dataclass(frozen=True, slots=True)
class LineTable:
    """Lines of one case and rung.

    Attributes:
        frame: frame number of each line, int64 [lines], not decreasing.
        slot: the decoder's slot of each line, int16 [lines], NO_SLOT where it has none.
        category: class of each line, int16 [lines] (column `class` in files).
        score: confidence in 0..1, float32 [lines].
        topology: OPEN or CLOSED, uint8 [lines].
        start: offsets into the points, int64 [lines + 1].
        x: float32 [points]; metres forward, or u in pixels.
        y: float32 [points]; metres left, or v in pixels.
    """

    frame: NDArray[np.int64]
    slot: NDArray[np.int16]
    category: NDArray[np.int16]
    score: NDArray[np.float32]
    topology: NDArray[np.uint8]
    start: NDArray[np.int64]
    x: NDArray[np.float32]
    y: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.frame)

    @classmethod
    def empty(cls) -> LineTable:
        """No lines at all."""
        return cls.from_points([], [])

    @classmethod
    def from_points(
        cls,
        frame: ArrayLike,
        points: Sequence[ArrayLike],
        *,
        slot: ArrayLike = NO_SLOT,
        category: ArrayLike = 0,
        score: ArrayLike = 1.0,
        topology: ArrayLike = OPEN,
    ) -> LineTable:
        """Build from one [points, 2] array per line; scalars are repeated for every line.

        Raises:
            MetricError: frames that go back, or as many frames as there are not lines.
        """
        frames = np.atleast_1d(np.asarray(frame, np.int64))
        count = len(points)
        if len(frames) != count or np.any(np.diff(frames) < 0):
            raise MetricError(
                f"{count} lines with frames {frames.tolist()[:8]}",
                where="LineTable.from_points(frame)",
                remedy="give one frame number for each line, in frame order",
            )
        parts = [np.asarray(p, np.float32).reshape(-1, 2) for p in points]
        flat = np.concatenate(parts) if parts else np.zeros((0, 2), np.float32)
        return cls(
            frames,
            np.broadcast_to(np.asarray(slot, np.int16), count).copy(),
            np.broadcast_to(np.asarray(category, np.int16), count).copy(),
            np.broadcast_to(np.asarray(score, np.float32), count).copy(),
            np.broadcast_to(np.asarray(topology, np.uint8), count).copy(),
            np.concatenate([[0], np.cumsum([len(p) for p in parts])]).astype(np.int64),
            flat[:, 0].copy(),
            flat[:, 1].copy(),
        )

    def points(self, line: int) -> NDArray[np.float32]:
        """Points of one line, [points, 2]."""
        span = slice(int(self.start[line]), int(self.start[line + 1]))
        return np.stack([self.x[span], self.y[span]], axis=1)

    def take(self, lines: ArrayLike) -> LineTable:
        """The lines at the given positions (or of a boolean mask), in that order."""
        index = np.asarray(lines)
        rows = np.flatnonzero(index) if index.dtype == bool else index.astype(np.int64)
        length = np.diff(self.start)[rows]
        start = np.concatenate([[0], np.cumsum(length)]).astype(np.int64)
        point = np.arange(start[-1]) + np.repeat(self.start[rows] - start[:-1], length)
        return LineTable(
            self.frame[rows],
            self.slot[rows],
            self.category[rows],
            self.score[rows],
            self.topology[rows],
            start,
            self.x[point],
            self.y[point],
        )

    def at_frames(self, frame: NDArray[np.int64]) -> LineTable:
        """The same lines with other frame numbers, int64 [lines], not decreasing."""
        return replace(self, frame=frame)

    def line_in_frame(self) -> NDArray[np.int32]:
        """Position of each line among the lines of its frame, int32 [lines]."""
        first = np.searchsorted(self.frame, self.frame, side="left")
        return (np.arange(len(self)) - first).astype(np.int32)

    def to_columns(self) -> dict[str, NDArray[np.generic] | pl.Series]:
        """Columns frame, line, slot, class, score, topology, x, y as in lines.parquet; no slot is null."""
        length = np.diff(self.start)
        has_slot = (self.slot != NO_SLOT).all()
        return {
            "frame": self.frame,
            "line": self.line_in_frame(),
            "slot": self.slot if has_slot else pl.Series(self.slot).replace(NO_SLOT, None),
            "class": self.category,
            "score": self.score,
            "topology": self.topology,
            "x": _ragged(self.x, self.start, length),
            "y": _ragged(self.y, self.start, length),
        }

    def to_polars(self) -> pl.DataFrame:
        """The columns of `to_columns` as a table."""
        return pl.DataFrame(self.to_columns())

    @classmethod
    def from_polars(cls, table: pl.DataFrame) -> LineTable:
        """Read back what `to_polars` wrote; optional columns slot, class, score and topology have defaults."""
        table = table.sort("frame", "line") if "line" in table.columns else table.sort("frame", maintain_order=True)
        count = table.height

        def column(name: str, default: int | float, dtype: type[np.generic]) -> NDArray[np.generic]:
            if name not in table.columns:
                return np.full(count, default, dtype)
            return table[name].fill_null(default).to_numpy().astype(dtype)

        length = table["x"].list.len().to_numpy().astype(np.int64)
        return cls(
            table["frame"].to_numpy().astype(np.int64),
            column("slot", NO_SLOT, np.int16),  # type: ignore[arg-type]  # numpy cannot follow the dtype argument
            column("class", 0, np.int16),  # type: ignore[arg-type]  # as above
            column("score", 1.0, np.float32),  # type: ignore[arg-type]  # as above
            column("topology", OPEN, np.uint8),  # type: ignore[arg-type]  # as above
            np.concatenate([[0], np.cumsum(length)]).astype(np.int64),
            table["x"].explode(empty_as_null=False).to_numpy().astype(np.float32),
            table["y"].explode(empty_as_null=False).to_numpy().astype(np.float32),
        )


def concat(tables: Sequence[LineTable]) -> LineTable:
    """Tables one after another; their frames must already be in order."""
    if not tables:
        return LineTable.empty()
    ends = np.cumsum([0] + [int(t.start[-1]) for t in tables])
    return LineTable(
        np.concatenate([t.frame for t in tables]),
        np.concatenate([t.slot for t in tables]),
        np.concatenate([t.category for t in tables]),
        np.concatenate([t.score for t in tables]),
        np.concatenate([t.topology for t in tables]),
        np.concatenate([[0]] + [t.start[1:] + end for t, end in zip(tables, ends[:-1], strict=True)]).astype(np.int64),
        np.concatenate([t.x for t in tables]),
        np.concatenate([t.y for t in tables]),
    )


def _ragged(values: NDArray[np.float32], start: NDArray[np.int64], length: NDArray[np.int64]) -> pl.Series:
    """A List(Float32) series; only with empty lines among others it needs a loop."""
    if len(length) == 0:
        return pl.Series([], dtype=pl.List(pl.Float32))
    if (length == length[0]).all() and length[0] > 0:
        return pl.Series(values.reshape(len(length), -1)).cast(pl.List(pl.Float32))
    if (length > 0).all():
        points = pl.DataFrame({"line": np.repeat(np.arange(len(length)), length), "at": values})
        return points.group_by("line", maintain_order=True).agg("at")["at"]
    return pl.Series([values[a:b] for a, b in pairwise(start)], dtype=pl.List(pl.Float32))
