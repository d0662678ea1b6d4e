"""Outputs dumped elsewhere, as files: an index by timestamp, and one frame's arrays at a time.

A dump is a folder or one file:

    <timestamp_ns>.SUFFIX       one frame: an array per output, each of the output's own shape
    <timestamp_ns>/*.raw        one frame, as trtexec dumps it
    anything else, *.SUFFIX     many frames: per output an array [N, *output shape] (or N iterations of Polygraphy), and
                                their moments: `timestamp_ns` int64 [N] inside, or a file NAME.timestamps beside it,
                                one number a line

SUFFIX is npz, safetensors or json (engines/formats). All kinds may stand in one folder. Pickled objects are never read.
Of files with many frames only one is open at a time, and an array of it is read whole: dump large outputs one file a
frame.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engines.errors import EngineOutputMissing, RecordingError
from engines.formats.reader import SUFFIXES, opened, widened
from engines.formats.trtexec import SIX_DIGITS
from engines.protocol import Tensors

__all__ = ["TIMESTAMP", "Dump", "PrecisionLoss"]

TIMESTAMP = "timestamp_ns"
WHOLE_FILE = -1  # row of a frame that has a file of its own


class PrecisionLoss(UserWarning):
    """The dump's format keeps fewer digits than the engine computed."""


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
        self.precision = _precision(files)
        if self.precision:
            warnings.warn(self.precision, PrecisionLoss, stacklevel=2)

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
            return self._load(self._files[file], stacked=False)
        if file != self._open_file:
            self._open_file, self._stacked = -1, {}
            self._stacked = self._load(self._files[file], stacked=True)
            self._check_lengths(file)
            self._open_file = file
        return {name: array[row].copy() for name, array in self._stacked.items()}

    def _load(self, file: Path, *, stacked: bool) -> Tensors:
        with opened(file, self._outputs, stacked=stacked) as arrays:
            if absent := [name for name in self._outputs if name not in arrays]:
                raise EngineOutputMissing(
                    f"the dump has no output {absent[0]!r}",
                    where=str(file),
                    remedy=f"it has {[name for name in arrays if name != TIMESTAMP]}; "
                    "dump what [[outputs]] in model.toml names",
                )
            return {name: widened(arrays[name]) for name in self._outputs}

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
    """Files of a dump, a frame's folder of raw dumps counting as one."""
    if place.is_dir():
        return sorted(p for p in place.iterdir() if p.suffix in SUFFIXES or (p.is_dir() and p.name.isdecimal()))
    if place.is_file():
        return [place]
    raise RecordingError("no such dump", where=str(place), remedy="give a folder or a file that exists")


def _precision(files: Sequence[Path]) -> str:
    """What the format of the first file loses; a frame's JSON is trtexec's where it begins with a list."""
    for file in files:
        if file.suffix == ".json":
            with file.open("rb") as stream:
                return SIX_DIGITS if stream.read(64).lstrip().startswith(b"[") else ""
    return ""


def _moments(file: Path) -> Iterator[tuple[int, int]]:
    """(timestamp_ns, row) of each frame of a file."""
    if file.stem.isdecimal():
        yield int(file.stem), WHOLE_FILE
        return
    beside = file.with_suffix(".timestamps")
    moments = _listed(beside) if beside.is_file() else _inside(file)
    yield from ((int(moment), row) for row, moment in enumerate(moments))


def _listed(file: Path) -> list[int]:
    try:
        return [int(line) for line in file.read_text(encoding="ascii").split()]
    except (OSError, ValueError) as error:
        raise RecordingError(
            f"not a list of timestamps: {error}", where=str(file), remedy="write one whole number of nanoseconds a line"
        ) from error


def _inside(file: Path) -> NDArray[Any]:
    with opened(file, stacked=True) as arrays:
        if TIMESTAMP not in arrays:
            raise RecordingError(
                f"no {TIMESTAMP} in it, and its name is no timestamp",
                where=str(file),
                remedy=f"name it <timestamp_ns>{file.suffix}, put {file.stem}.timestamps beside it, "
                f"or add {TIMESTAMP} [N] and stack the outputs",
            )
        moments: NDArray[Any] = arrays[TIMESTAMP]
    if moments.ndim != 1 or moments.dtype.kind not in "iu":
        raise RecordingError(
            f"{TIMESTAMP} is {moments.dtype.name} {list(moments.shape)}",
            where=str(file),
            remedy="store int64 nanoseconds, one per frame",
        )
    return moments
