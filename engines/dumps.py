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

import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engines.alignment import UNITS_NS
from engines.errors import EngineOutputMissing, RecordingError
from engines.formats.polylines import LINE_ARRAYS, POINTS, padded
from engines.formats.reader import SUFFIXES, opened, widened
from engines.formats.trtexec import SIX_DIGITS
from engines.io_check import fits
from engines.protocol import DumpSpec, Tensors

__all__ = ["TIMESTAMP", "Dump", "PrecisionLoss", "Wanted", "contents"]

TIMESTAMP = "timestamp_ns"
WHOLE_FILE = -1  # row of a frame that has a file of its own
_NUMBER = re.compile(r"\d+(?:\.\d+)?")


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
        self._spec, self._wanted, self._case_ns = spec, wanted, case_ns
        self.notes: list[str] = []
        self._files = _files(spec.path)
        moments = [(moment, number, row) for number, file in enumerate(self._files) for moment, row in self._rows(file)]
        if not moments:
            raise RecordingError(
                "no frames in the dump",
                where=str(spec.path),
                remedy="put <timestamp_ns>.npz files, or one .npz with timestamp_ns and stacked outputs, there",
            )
        moments.sort()
        self.timestamps_ns = np.array([moment for moment, _, _ in moments], np.int64)
        self._file = np.array([number for _, number, _ in moments], np.int32)
        self._row = np.array([row for _, _, row in moments], np.int64)
        if len(again := self.timestamps_ns[1:][np.diff(self.timestamps_ns) == 0]):
            raise RecordingError(
                f"{len(again)} frames share a timestamp with another, the first {again[0]}",
                where=str(spec.path),
                remedy="dump every frame once, with times as fine as the frames are far apart",
            )
        self._open_file = -1
        self._stacked: Tensors = {}
        self._room = self._largest()
        self.precision = _precision(self._files)
        if self.precision:
            warnings.warn(self.precision, PrecisionLoss, stacklevel=2)

    def __len__(self) -> int:
        return len(self.timestamps_ns)

    def read(self, position: int) -> Tensors:
        """Outputs of one frame; arrays of its own, half precision widened to float32.

        Raises:
            RecordingError: the file is truncated, holds objects, or its arrays are not as long as its timestamps.
            EngineOutputMissing: an output is not in the file.
        """
        file, row = int(self._file[position]), int(self._row[position])
        if row == WHOLE_FILE:
            return self._fitted(self._load(self._files[file], stacked=False), self._files[file])
        if file != self._open_file:
            self._open_file, self._stacked = -1, {}
            self._stacked = self._load(self._files[file], stacked=True)
            self._check_lengths(file)
            self._open_file = file
        return self._fitted({name: array[row].copy() for name, array in self._stacked.items()}, self._files[file])

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
        for number, file in enumerate(self._files):
            stacked = bool((self._row[self._file == number] != WHOLE_FILE).any())
            if number == 0 and not _holds_lines(file, stacked, self._spec.runner):
                return room
            with opened(file, stacked=stacked, runner=self._spec.runner) as arrays:
                shape = np.shape(arrays[POINTS])[-3:] if POINTS in arrays else (0, 0)
            room = (max(room[0], shape[0]), max(room[1], shape[1]))
        return room

    def _check_lengths(self, file: int) -> None:
        frames = int((self._file == file).sum())
        for name, array in self._stacked.items():
            if array.ndim == 0 or len(array) != frames:
                raise RecordingError(
                    f"output {name!r} has shape {list(array.shape)}, {TIMESTAMP} has {frames} frames",
                    where=str(self._files[file]),
                    remedy="stack one array per frame along the first axis",
                )

    def _rows(self, file: Path) -> Iterator[tuple[int, int]]:
        """(time in nanoseconds, row) of each frame of a file."""
        if (name := _moment_name(file)) is not None:
            yield self._nanoseconds([name], file)[0], WHOLE_FILE
            return
        beside = file.with_suffix(".timestamps")
        moments = self._nanoseconds(_words(beside), beside) if beside.is_file() else self._inside(file)
        yield from ((moment, row) for row, moment in enumerate(moments))

    def _inside(self, file: Path) -> list[int]:
        with opened(file, stacked=True, runner=self._spec.runner) as arrays:
            if TIMESTAMP in arrays:
                return self._nanoseconds(_plain(arrays[TIMESTAMP], file), file)
            frames = len(arrays[first]) if (first := next(iter(arrays), "")) and np.ndim(arrays[first]) else 0
        if len(self._files) == 1 and frames and frames == len(self._case_ns):
            self.notes.append(f"{file.name} has no times: its {frames} frames are taken for the case's, in order")
            return list(self._case_ns)
        counts = f", and {frames} frames for {len(self._case_ns)} of the case" if self._case_ns else ""
        raise RecordingError(
            f"no {TIMESTAMP} in it, and its name is no timestamp{counts}",
            where=str(file),
            remedy=f"name it <timestamp_ns>{file.suffix}, put {file.stem}.timestamps beside it, "
            f"or add {TIMESTAMP} [N] and stack the outputs",
        )

    def _nanoseconds(self, moments: Sequence[Any], where: Path) -> list[int]:
        """Times of the dump's unit in nanoseconds."""
        unit = self._spec.time_unit or "ns"
        try:
            exact = [Decimal(str(moment)) * UNITS_NS[unit] for moment in moments]
            if unit == "ns" and any(moment % 1 for moment in exact):
                raise ValueError("nanoseconds are whole numbers")
            return [int(moment.to_integral_value()) for moment in exact]
        except (InvalidOperation, ValueError) as error:
            raise RecordingError(
                f"no list of timestamps: {error or type(error).__name__}",
                where=str(where),
                remedy='write one number a line; whole nanoseconds, or say time_unit = "s" under [outputs.DUMP] of '
                "case.toml",
            ) from error


def contents(spec: DumpSpec) -> frozenset[str]:
    """What a dump holds by its first file: `lines`, `tensors`, both; nothing where it cannot be read."""
    try:
        file = _files(spec.path)[0]
        with opened(file, stacked=_moment_name(file) is None, runner=spec.runner) as arrays:
            names = set(arrays)
    except (RecordingError, IndexError):
        return frozenset()
    kinds = {"lines": POINTS in names, "tensors": bool(names - {TIMESTAMP, *LINE_ARRAYS})}
    return frozenset(kind for kind, there in kinds.items() if there)


def _holds_lines(file: Path, stacked: bool, runner: str | None) -> bool:
    """Whether lines are in a file; formats that cannot hold any are not opened."""
    if file.is_dir() or file.suffix == ".safetensors":
        return False
    with opened(file, stacked=stacked, runner=runner) as arrays:
        return POINTS in arrays


def _files(place: Path) -> list[Path]:
    """Files of a dump, a frame's folder of raw dumps counting as one."""
    if place.is_dir():
        return sorted(p for p in place.iterdir() if p.suffix in SUFFIXES or (p.is_dir() and p.name.isdecimal()))
    if place.is_file():
        return [place]
    raise RecordingError("no such dump", where=str(place), remedy="give a folder or a file that exists")


def _moment_name(file: Path) -> str | None:
    """The number that a frame's file or folder is called by, None where it is called otherwise."""
    name = file.name if file.is_dir() else file.name.removesuffix(file.suffix)
    return name if _NUMBER.fullmatch(name) else None


def _precision(files: Sequence[Path]) -> str:
    """What the format of the first file loses; a frame's JSON is trtexec's where it begins with a list."""
    for file in files:
        if file.suffix == ".json":
            with file.open("rb") as stream:
                return SIX_DIGITS if stream.read(64).lstrip().startswith(b"[") else ""
    return ""


def _words(file: Path) -> list[str]:
    try:
        return file.read_text(encoding="ascii").split()
    except (OSError, ValueError) as error:
        raise RecordingError(
            f"not a list of timestamps: {error}", where=str(file), remedy="write one whole number of nanoseconds a line"
        ) from error


def _plain(moments: NDArray[Any], file: Path) -> list[Any]:
    """Times of an array as Python numbers."""
    if moments.ndim != 1 or moments.dtype.kind not in "iuf" or not np.isfinite(moments).all():
        raise RecordingError(
            f"{TIMESTAMP} is {moments.dtype.name} {list(moments.shape)}",
            where=str(file),
            remedy="store int64 nanoseconds, one per frame",
        )
    return list(moments.tolist())
