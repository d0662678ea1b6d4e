"""Dumps of lines: what is left where a device logs no tensors, only the lines that its own decoder drew.

    NAME.json       one frame: {"lines": [[[x, y], ...], {"points": [[x, y], ...], "score": 0.9, "slot": 0}, ...]}
                    many:      {"frames": [{"timestamp_ns": 1700000000000000000, "lines": [...]}, ...]}
    NAME.jsonl      many: one such {"timestamp_ns": ..., "lines": [...]} a line
    NAME.parquet    many: the columns of lines.parquet and timestamp_ns; a frame without a line has one row, empty x
    NAME.npz        line_points [lines, points, 2], NaN behind a line's end; of many frames [frames, lines, points, 2]

Beside its points a line may have `score` (1), `slot` (none), `class` (0) and `closed` (false); in an .npz these are
line_scores, line_slots, line_classes and line_topology [lines], and line_lengths may say how many points count. `lanes`
is read as `lines`; with `h_samples` beside it (TuSimple's form) a line is a list of x at these rows, negative where
there is none. x and y are metres or pixels as the card's `frame` says.

Whatever the file, a frame becomes these arrays, padded with zeros, so that lines travel as tensors do.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from engines.base import first_line
from engines.errors import RecordingError
from engines.foreign import outside
from trueline._reading import regular

if TYPE_CHECKING:
    import polars as pl

__all__ = ["LINE_ARRAYS", "POINTS", "frame_arrays", "is_lines", "padded", "read_parquet", "stacked_frames"]

Arrays = dict[str, NDArray[Any]]

POINTS, LENGTHS, SCORES, SLOTS, CLASSES, TOPOLOGY = LINE_ARRAYS = (
    "line_points", "line_lengths", "line_scores", "line_slots", "line_classes", "line_topology",
)  # fmt: skip
MOST_POINTS = 2**28  # 2 GiB of x and y
_KEYS = ("lines", "lanes")
_OF_OTHER_FORM = (TypeError, ValueError, KeyError, AttributeError, OverflowError)  # what a dump of another form raises
_TIME = "timestamp_ns"
_OF_A_LINE: dict[str, tuple[str, Any, float]] = {  # array -> (key, dtype, value where nothing is said)
    SCORES: ("score", np.float32, 1.0),
    SLOTS: ("slot", np.int16, -1),
    CLASSES: ("class", np.int16, 0),
    TOPOLOGY: ("closed", np.uint8, 0),
}


def is_lines(content: Any) -> bool:
    """Whether parsed JSON is a dump of lines."""
    return isinstance(content, dict) and ("frames" in content or any(key in content for key in _KEYS))


def frame_arrays(content: Mapping[str, Any], where: str) -> Arrays:
    """Lines of one frame of parsed JSON, padded to the longest of them.

    Raises:
        RecordingError: it has not the form above.
    """
    try:
        return _arrays([_line(entry, content.get("h_samples")) for entry in _lines_of(content)])
    except _OF_OTHER_FORM as error:
        raise _wrong(f"no lines: {first_line(error)}", where) from error


def stacked_frames(frames: Iterable[Mapping[str, Any]], where: str) -> Arrays:
    """Lines of many frames, [frames, ...], and their times where every frame has one.

    Raises:
        RecordingError: a frame has not the form above, or some have a timestamp_ns and others do not.
    """
    found = list(frames)
    parts = [frame_arrays(frame, where) for frame in found]
    times = [frame.get(_TIME) for frame in found]
    if not parts or 0 < times.count(None) < len(times):
        raise _wrong(f"{times.count(None)} of {len(times)} frames have no {_TIME}", where)
    try:
        return {**_stacked(parts), **({} if None in times else {_TIME: np.array(times)})}
    except _OF_OTHER_FORM as error:
        raise _wrong(f"no frames of lines: {first_line(error)}", where) from error


def read_parquet(path: Path) -> Arrays:
    """Lines of many frames from a table, [frames, ...], and their times.

    Raises:
        RecordingError: no such table, or it lacks timestamp_ns, x or y.
    """
    import polars as pl

    table = read_table(path)
    try:
        if absent := [name for name in (_TIME, "x", "y") if name not in table.columns]:
            raise ValueError(f"no column {absent[0]!r}, it has {table.columns}")
        order = [_TIME, "line"] if "line" in table.columns else [_TIME]
        groups = table.sort(order, maintain_order=True).partition_by(_TIME, maintain_order=True)
        parts = [_arrays([_line(_row(row), None) for row in group.iter_rows(named=True)]) for group in groups]
        times = np.array([group[_TIME][0] for group in groups], np.int64)
        return {**_stacked(parts), _TIME: times}
    except (pl.exceptions.PolarsError, *_OF_OTHER_FORM) as error:
        raise _wrong(f"no table of lines: {first_line(error)}", str(path)) from error


def read_table(path: Path) -> pl.DataFrame:
    """A Parquet file.

    Raises:
        RecordingError: it cannot be read.
    """
    import polars as pl

    with outside(lambda cause: _wrong(f"not readable as a table: {cause}", str(path))):
        return pl.read_parquet(regular(path), glob=False)


def padded(arrays: Mapping[str, NDArray[Any]], lines: int, points: int) -> Arrays:
    """One frame's arrays, all of LINE_ARRAYS, with room for so many lines of so many points; no line has length 0.

    Raises:
        ValueError: arrays that do not belong together.
    """
    given = np.asarray(arrays[POINTS], np.float32)
    if given.ndim != 3 or given.shape[2] != 2:
        raise ValueError(f"{POINTS} is {list(given.shape)}, not [lines, points, 2]")
    lengths = np.asarray(arrays[LENGTHS]) if LENGTHS in arrays else _lengths(given)
    room = np.zeros((lines, points, 2), np.float32)
    room[: given.shape[0], : given.shape[1]] = np.where(_inside(lengths, given.shape[1])[..., None], given, 0)
    found: Arrays = {POINTS: room}
    for name, (_, dtype, default) in {LENGTHS: ("", np.int32, 0), **_OF_A_LINE}.items():
        values = np.asarray(lengths if name == LENGTHS else arrays.get(name, np.full(len(given), default)))
        if values.shape != (len(given),):
            raise ValueError(f"{name} is {list(values.shape)} for {len(given)} lines")
        found[name] = np.full(lines, default, dtype)
        found[name][: len(given)] = values
    return found


def _lengths(points: NDArray[Any]) -> NDArray[Any]:
    """How many points of each line [lines, points, 2] there are up to its last finite one."""
    count = points.shape[1]
    there = np.isfinite(points).all(axis=-1)
    last = count - np.argmax(there[:, ::-1], axis=1) if count else np.zeros(len(points), np.int64)
    return np.where(there.any(axis=1), last, 0)


def _inside(lengths: NDArray[Any], points: int) -> NDArray[Any]:
    return np.arange(points) < lengths[:, None]


def _lines_of(content: Mapping[str, Any]) -> Sequence[Any]:
    lines = next((content[key] for key in _KEYS if key in content), None)
    if not isinstance(lines, list):
        raise ValueError(f"neither {' nor '.join(map(repr, _KEYS))} is a list")
    return lines


def _line(entry: Any, rows: Sequence[float] | None) -> dict[str, Any]:
    """A line as a table: `points` float32 [points, 2], and what else is said of it."""
    said = dict(entry) if isinstance(entry, Mapping) else {"points": entry}
    points = np.array(said["points"], np.float32)
    if rows is not None:
        kept = points >= 0
        points = np.stack([points, np.array(rows, np.float32)], axis=1)[kept]
    points = points.reshape(-1, 2) if points.size == 0 else points
    if points.ndim != 2 or points.shape[1] != 2:
        raise ValueError(f"a line is {list(points.shape)}, not [points, 2]")
    return {**said, "points": points}


def _row(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row of a table as an entry of JSON."""
    x, y = row["x"] or [], row["y"] or []
    if len(x) != len(y):
        raise ValueError(f"a line has {len(x)} x and {len(y)} y")
    said = {key: row[key] for key in ("score", "slot", "class") if row.get(key) is not None}
    return {"points": [*zip(x, y, strict=True)], "closed": bool(row.get("topology") or 0), **said}


def _arrays(lines: Sequence[Mapping[str, Any]]) -> Arrays:
    """The arrays of one frame; a line without points is none."""
    lines = [line for line in lines if len(line["points"])]
    longest = max((len(line["points"]) for line in lines), default=0)
    _check_room(len(lines), longest)
    points = np.zeros((len(lines), longest, 2), np.float32)
    for room, line in zip(points, lines, strict=True):
        room[: len(line["points"])] = line["points"]
    lengths = np.array([len(line["points"]) for line in lines], np.int32)
    rest = {
        name: np.array([line.get(key) if line.get(key) is not None else default for line in lines], dtype)
        for name, (key, dtype, default) in _OF_A_LINE.items()
    }
    return {POINTS: points, LENGTHS: lengths, **rest}


def _stacked(parts: Sequence[Arrays]) -> Arrays:
    lines, points = (max(part[POINTS].shape[axis] for part in parts) for axis in (0, 1))
    _check_room(len(parts) * lines, points)
    roomy = [padded(part, lines, points) for part in parts]
    return {name: np.stack([part[name] for part in roomy]) for name in LINE_ARRAYS}


def _check_room(lines: int, points: int) -> None:
    """Lines are padded to the longest, so few long and many short ones take room that no file of theirs has."""
    if lines * points > MOST_POINTS:
        raise ValueError(f"{lines} lines of up to {points} points, at most {MOST_POINTS} points together")


def _wrong(what: str, where: str) -> RecordingError:
    return RecordingError(
        what,
        where=where,
        remedy='write {"lines": [[[x, y], ...], ...]} for each frame; docs/recordings.md has the forms',
    )
