"""Outputs dumped elsewhere, as files: an index by timestamp, and one frame's arrays at a time.

A dump is a folder or one file:

    <timestamp>.SUFFIX          one frame: an array per output, each of the output's own shape
    <timestamp>/*.raw           one frame, as trtexec dumps it
    anything else, *.SUFFIX     many frames: per output an array [N, *output shape] (or N iterations of Polygraphy), and
                                their moments: `timestamp_ns` [N] inside, or a file NAME.timestamps beside it, one
                                number a line, or nothing where there is one file and N is the case's number of frames

SUFFIX is npz, safetensors, json, jsonl or parquet (engines/formats). Timestamps are whole nanoseconds, or of the unit
that the case or the card says. All kinds may stand in one folder. Pickled objects are never read. Of files with many
frames only one is open at a time, and an array of it is read whole: dump large outputs one file a frame.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from engines.dump_index import TIMESTAMP, WHOLE_FILE, DumpIndex, files_of, moment_name
from engines.errors import EngineOutputMissing, RecordingError
from engines.formats.polylines import LINE_ARRAYS, POINTS, padded
from engines.formats.reader import opened, widened
from engines.formats.trtexec import SIX_DIGITS
from engines.io_check import fits
from engines.protocol import DumpSpec, Tensors
from trueline._reading import open_file

__all__ = ["Dump", "PrecisionLoss", "Wanted", "contents", "tensors_of"]


class PrecisionLoss(UserWarning):
    """The dump's format keeps fewer digits than the engine computed."""


@dataclass(frozen=True)
class Wanted:
    """What a frame should hold.

    Attributes:
        required: names of the outputs that every frame must have, unless it holds lines instead.
        optional: names that it may have: what a recurrent model feeds back is of no use in a recording.
        shapes: of outputs, where they are declared.
    """

    required: tuple[str, ...]
    optional: tuple[str, ...] = ()
    shapes: Mapping[str, tuple[int | str, ...]] = field(default_factory=dict)


class Dump:
    """An index over one dump; arrays are read when asked for.

    Args:
        spec: where it is, the unit of its times, its names.
        wanted: what every frame should hold.
        case_ns: times of the case's frames, for a file that has none of its own.

    Raises:
        RecordingError: nothing there, unreadable, or two frames of the same moment.
    """

    def __init__(self, spec: DumpSpec, wanted: Wanted, case_ns: Sequence[int] = ()) -> None:
        self._spec, self._wanted = spec, wanted
        self._index = DumpIndex(spec, case_ns)
        self._open_file = -1
        self._stacked: Tensors = {}
        self._room = self._largest()
        self.precision = _precision(self._index.files)
        if self.precision:
            warnings.warn(self.precision, PrecisionLoss, stacklevel=2)

    @property
    def timestamps_ns(self) -> NDArray[np.int64]:
        """Time of each frame, strictly increasing, int64 [frames]."""
        return self._index.timestamps_ns

    @property
    def notes(self) -> list[str]:
        """What was taken for granted about its times."""
        return self._index.notes

    def read(self, position: int) -> Tensors:
        """Outputs of one frame; arrays of its own, half precision widened to float32.

        Raises:
            RecordingError: the file is truncated, holds objects, or its arrays are not as long as its timestamps.
            EngineOutputMissing: an output is not in the file.
        """
        file, row = int(self._index.file[position]), int(self._index.row[position])
        if row == WHOLE_FILE:
            return self._fitted(self._load(self._index.files[file], stacked=False), self._index.files[file])
        if file != self._open_file:
            self._open_file, self._stacked = -1, {}
            self._stacked = self._load(self._index.files[file], stacked=True)
            self._check_lengths(file)
            self._open_file = file
        return self._fitted({name: array[row].copy() for name, array in self._stacked.items()}, self._index.files[file])

    def _load(self, file: Path, *, stacked: bool) -> Tensors:
        """Arrays of a file by the card's names: the outputs wanted, and lines."""
        theirs = {ours: name for name, ours in self._spec.rename.items()}
        outputs = (*self._wanted.required, *self._wanted.optional)
        names = [theirs.get(name, name) for name in outputs]
        with opened(file, names, stacked=stacked, runner=self._spec.runner) as arrays:
            found = {ours: name for ours, name in zip(outputs, names, strict=True) if name in arrays}
            absent = [name for name in self._wanted.required if name not in found]
            if absent and POINTS not in arrays:
                raise self._missing(absent[0], theirs, arrays, file)
            found |= {name: name for name in LINE_ARRAYS if name in arrays}
            return {ours: widened(arrays[name]) for ours, name in found.items()}

    def _missing(
        self, name: str, theirs: Mapping[str, str], arrays: Mapping[str, Any], file: Path
    ) -> EngineOutputMissing:
        has = [other for other in arrays if other != TIMESTAMP]
        renamed = f", which is to be {name!r}" if name in theirs else ""
        return EngineOutputMissing(
            f"the dump has no output {theirs.get(name, name)!r}{renamed}",
            where=str(file),
            remedy=f"it has {has}; dump what [[outputs]] in model.toml names, or say which is which by "
            f"rename = {{ {has[0] if len(has) == 1 else 'NAME'} = {name!r} }} under [outputs.DUMP] of case.toml",
        )

    def _fitted(self, arrays: Tensors, file: Path) -> Tensors:
        """Arrays of one frame in the shapes declared; a batch axis of one is added, or dropped."""
        lines = {name: arrays.pop(name) for name in LINE_ARRAYS if name in arrays}
        found = {name: self._shaped(name, array, file) for name, array in arrays.items()}
        if lines:
            try:
                found |= padded(lines, *self._room)
            except ValueError as error:
                raise RecordingError(
                    f"no lines: {error}", where=str(file), remedy="see docs/recordings.md for the form"
                ) from error
        return found

    def _shaped(self, name: str, array: NDArray[Any], file: Path) -> NDArray[Any]:
        declared = self._wanted.shapes.get(name)
        if declared is None or fits(declared, array.shape):
            return array
        if declared and (declared[0] == 1 or isinstance(declared[0], str)) and fits(declared[1:], array.shape):
            return array[None]
        if array.shape[:1] == (1,) and fits(declared, array.shape[1:]):
            return np.asarray(array[0])
        raise RecordingError(
            f"output {name!r} is {list(array.shape)}, the card says {list(declared)}",
            where=str(file),
            remedy="dump the tensor as the network gives it, or correct `shape` under [[outputs]] in model.toml",
        )

    def _largest(self) -> tuple[int, int]:
        """The most lines of any frame and the most points of any line; (0, 0) where the dump holds tensors."""
        room = (0, 0)
        for number, file in enumerate(self._index.files):
            stacked = self._index.is_stacked(number)
            if number == 0 and not _holds_lines(file, stacked, self._spec.runner):
                return room
            with opened(file, stacked=stacked, runner=self._spec.runner) as arrays:
                shape = np.shape(arrays[POINTS])[-3:] if POINTS in arrays else (0, 0)
            room = (max(room[0], shape[0]), max(room[1], shape[1]))
        return room

    def _check_lengths(self, file: int) -> None:
        frames = int((self._index.file == file).sum())
        for name, array in self._stacked.items():
            if array.ndim == 0 or len(array) != frames:
                raise RecordingError(
                    f"output {name!r} has shape {list(array.shape)}, {TIMESTAMP} has {frames} frames",
                    where=str(self._index.files[file]),
                    remedy="stack one array per frame along the first axis",
                )


def contents(spec: DumpSpec) -> frozenset[str]:
    """What a dump holds by its first file: `lines`, `tensors`, both; nothing where it cannot be read."""
    try:
        names = _names(spec)
    except (RecordingError, IndexError):
        return frozenset()
    kinds = {"lines": POINTS in names, "tensors": bool(names - {TIMESTAMP, *LINE_ARRAYS})}
    return frozenset(kind for kind, there in kinds.items() if there)


def tensors_of(spec: DumpSpec, wanted: Iterable[str] = ()) -> frozenset[str]:
    """Names of the tensors in a dump's first file, renamed as the case says.

    Args:
        spec: the dump.
        wanted: names that they may have, for formats that change them.

    Raises:
        RecordingError: it cannot be read.
    """
    return frozenset(spec.rename.get(name, name) for name in _names(spec, wanted) - {TIMESTAMP, *LINE_ARRAYS})


def _names(spec: DumpSpec, wanted: Iterable[str] = ()) -> set[str]:
    file = files_of(spec.path)[0]
    with opened(file, wanted, stacked=moment_name(file) is None, runner=spec.runner) as arrays:
        return set(arrays)


def _holds_lines(file: Path, stacked: bool, runner: str | None) -> bool:
    """Whether lines are in a file; formats that cannot hold any are not opened."""
    if file.is_dir() or file.suffix == ".safetensors":
        return False
    if file.suffix == ".json":
        with _stream(file) as stream:
            head = b"".join(stream.read(64).split())
        if head.startswith((b"[", b'{"lst"')):
            return False  # trtexec's or Polygraphy's, which may be long
    with opened(file, stacked=stacked, runner=runner) as arrays:
        return POINTS in arrays


def _stream(file: Path) -> BinaryIO:
    """The file, open for reading.

    Raises:
        RecordingError: it cannot be read.
    """
    try:
        return open_file(file)
    except OSError as error:
        raise RecordingError(
            f"not readable: {error.strerror}", where=str(file), remedy="dump it again, and copy it whole"
        ) from error


def _precision(files: Sequence[Path]) -> str:
    """What the format of the first file loses; a frame's JSON is trtexec's where it begins with a list."""
    for file in files:
        if file.suffix == ".json":
            with _stream(file) as stream:
                return SIX_DIGITS if stream.read(64).lstrip().startswith(b"[") else ""
    return ""
