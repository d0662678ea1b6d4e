"""Outputs dumped elsewhere, as files: an index by timestamp, and one frame's arrays at a time.

A dump is a folder or one file:

    <timestamp_ns>.npz          one frame: an array per output, each of the output's own shape
    anything else, *.npz        many frames: `timestamp_ns` int64 [N], and per output an array [N, *output shape]

Both kinds may stand in one folder. Pickled objects are never read. Of files with many frames only one is open at a
time, and an array of it is read whole: dump large outputs one file a frame.
"""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engines.base import first_line
from engines.errors import EngineOutputMissing, RecordingError
from engines.protocol import Tensors

__all__ = ["TIMESTAMP", "Dump"]

TIMESTAMP = "timestamp_ns"
WHOLE_FILE = -1  # row of a frame that has a file of its own


class Dump:
    """An index over one dump; arrays are read when asked for.

    Args:
        place: folder or file.
        outputs: names of the outputs that every frame must have.

    Raises:
        RecordingError: nothing there, unreadable, or two frames of the same moment.
    """

    def __init__(self, place: Path, outputs: Sequence[str]) -> None:
        self._place, self._outputs = place, tuple(outputs)
        files = _files(place)
        moments = [(moment, number, row) for number, file in enumerate(files) for moment, row in _moments(file)]
        if not moments:
            raise RecordingError(
                "no frames in the dump",
                where=str(place),
                remedy="put <timestamp_ns>.npz files, or one .npz with timestamp_ns and stacked outputs, there",
            )
        moments.sort()
        self._files = files
        self._timestamp_ns = np.array([moment for moment, _, _ in moments], np.int64)
        self._file = np.array([number for _, number, _ in moments], np.int32)
        self._row = np.array([row for _, _, row in moments], np.int64)
        if len(again := self._timestamp_ns[1:][np.diff(self._timestamp_ns) == 0]):
            raise RecordingError(
                f"{len(again)} frames share a timestamp with another, the first {again[0]}",
                where=str(place),
                remedy="dump every frame once",
            )
        self._open_file = -1
        self._stacked: Tensors = {}

    def __len__(self) -> int:
        return len(self._timestamp_ns)

    def nearest(self, timestamp_ns: int) -> tuple[int, int]:
        """Position of the frame nearest to a moment (the earlier of two), and its distance in nanoseconds, >= 0."""
        right = int(np.searchsorted(self._timestamp_ns, timestamp_ns))
        around = [i for i in (right - 1, right) if 0 <= i < len(self)]
        gap_ns, position = min((abs(int(self._timestamp_ns[i]) - timestamp_ns), i) for i in around)
        return position, gap_ns

    def read(self, position: int) -> Tensors:
        """Outputs of one frame; arrays of its own, half precision widened to float32.

        Raises:
            RecordingError: the file is truncated, holds objects, or its arrays are not as long as its timestamps.
            EngineOutputMissing: an output is not in the file.
        """
        file, row = int(self._file[position]), int(self._row[position])
        if row == WHOLE_FILE:
            return self._load(self._files[file])
        if file != self._open_file:
            self._open_file, self._stacked = -1, {}
            self._stacked = self._load(self._files[file])
            self._check_lengths(file)
            self._open_file = file
        return {name: array[row].copy() for name, array in self._stacked.items()}

    def _load(self, file: Path) -> Tensors:
        with _npz(file) as arrays:
            if absent := [name for name in self._outputs if name not in arrays.files]:
                raise EngineOutputMissing(
                    f"the dump has no output {absent[0]!r}",
                    where=str(file),
                    remedy=f"it has {[name for name in arrays.files if name != TIMESTAMP]}; "
                    "dump what [[outputs]] in model.toml names",
                )
            return {name: _widened(arrays[name]) for name in self._outputs}

    def _check_lengths(self, file: int) -> None:
        frames = int((self._file == file).sum())
        for name, array in self._stacked.items():
            if array.ndim == 0 or len(array) != frames:
                raise RecordingError(
                    f"output {name!r} has shape {list(array.shape)}, {TIMESTAMP} has {frames} frames",
                    where=str(self._files[file]),
                    remedy="stack one array per frame along the first axis",
                )


def _files(place: Path) -> list[Path]:
    if place.is_dir():
        return sorted(place.glob("*.npz"))
    if place.is_file():
        return [place]
    raise RecordingError("no such dump", where=str(place), remedy="give a folder or an .npz file that exists")


def _moments(file: Path) -> Iterator[tuple[int, int]]:
    """(timestamp_ns, row) of each frame of a file."""
    if file.stem.isdecimal():
        yield int(file.stem), WHOLE_FILE
        return
    with _npz(file) as arrays:
        if TIMESTAMP not in arrays.files:
            raise RecordingError(
                f"no {TIMESTAMP} in it, and its name is no timestamp",
                where=str(file),
                remedy=f"name it <timestamp_ns>.npz, or add {TIMESTAMP} [N] and stack the outputs",
            )
        moments: NDArray[Any] = arrays[TIMESTAMP]
    if moments.ndim != 1 or moments.dtype.kind not in "iu":
        raise RecordingError(
            f"{TIMESTAMP} is {moments.dtype.name} {list(moments.shape)}",
            where=str(file),
            remedy="store int64 nanoseconds, one per frame",
        )
    yield from ((int(moment), row) for row, moment in enumerate(moments))


@contextmanager
def _npz(file: Path) -> Iterator[Any]:
    """An open .npz; whatever is wrong with it becomes one line."""
    try:
        with file.open("rb") as stream:  # numpy.load leaves a file open that it cannot read
            arrays = np.load(stream, allow_pickle=False)
            if not hasattr(arrays, "files"):
                raise ValueError("a single array, not an archive of named ones")
            with arrays:
                yield arrays
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile, zlib.error) as error:
        reason = first_line(error) if zipfile.is_zipfile(file) else "no zip archive, or a truncated one"
        raise RecordingError(
            f"not readable as .npz: {reason}", where=str(file), remedy="dump it again with numpy.savez, without pickles"
        ) from error


def _widened(array: NDArray[Any]) -> NDArray[Any]:
    return array.astype(np.float32) if array.dtype == np.float16 else array
