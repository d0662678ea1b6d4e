"""Which frames a dump holds: its files, and the time of every frame in them.

A file's frames are dated by its name, by `timestamp_ns` inside, by NAME.timestamps beside it, or, where there is one
file without any of them and with as many frames as the case, by the case itself.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engines.alignment import UNITS_NS
from engines.errors import RecordingError
from engines.formats.reader import MANY, SUFFIXES, opened
from engines.protocol import DumpSpec
from trueline._reading import read_file

__all__ = ["TIMESTAMP", "WHOLE_FILE", "DumpIndex", "files_of", "moment_name"]

TIMESTAMP = "timestamp_ns"
WHOLE_FILE = -1  # row of a frame that has a file of its own
_LATEST_NS = 2**62  # the year 2116, and room for differences
_NUMBER = re.compile(r"\d+(?:\.\d+)?")


class DumpIndex:
    """Files of a dump, and its frames in the order of time.

    Args:
        spec: where it is, and the unit of its times.
        case_ns: times of the case's frames, for a file that has none of its own.

    Attributes:
        files: in the order of their names, a frame's folder of raw dumps counting as one.
        timestamps_ns: time of each frame, strictly increasing, int64 [frames].
        file, row: where each frame is: position in `files`, and row in it or WHOLE_FILE; int32, int64 [frames].
        notes: what was taken for granted.

    Raises:
        RecordingError: nothing there, unreadable times, or two frames of the same moment.
    """

    def __init__(self, spec: DumpSpec, case_ns: Sequence[int] = ()) -> None:
        self._spec, self._case_ns = spec, case_ns
        self.notes: list[str] = []
        self.files = files_of(spec.path)
        moments = [(moment, number, row) for number, file in enumerate(self.files) for moment, row in self._rows(file)]
        if not moments:
            raise RecordingError(
                "no frames in the dump",
                where=str(spec.path),
                remedy="put <timestamp_ns>.npz files, or one .npz with timestamp_ns and stacked outputs, there",
            )
        moments.sort()
        self.timestamps_ns = np.array([moment for moment, _, _ in moments], np.int64)
        self.file = np.array([number for _, number, _ in moments], np.int32)
        self.row = np.array([row for _, _, row in moments], np.int64)
        if len(again := self.timestamps_ns[1:][np.diff(self.timestamps_ns) == 0]):
            raise RecordingError(
                f"{len(again)} frames share a timestamp with another, the first {again[0]}",
                where=str(spec.path),
                remedy="dump every frame once, with times as fine as the frames are far apart",
            )

    def is_stacked(self, number: int) -> bool:
        """Whether a file holds many frames."""
        return bool((self.row[self.file == number] != WHOLE_FILE).any())

    def _rows(self, file: Path) -> Iterator[tuple[int, int]]:
        """(time in nanoseconds, row) of each frame of a file."""
        if (name := moment_name(file)) is not None:
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
        if len(self.files) == 1 and frames and frames == len(self._case_ns):
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
            if any(abs(moment) > _LATEST_NS for moment in exact):
                raise ValueError(f"{max(exact, key=abs):.3g} ns is beyond any clock, is time_unit {unit!r} right?")
            return [int(moment.to_integral_value()) for moment in exact]
        except (ArithmeticError, ValueError) as error:
            raise RecordingError(
                f"no list of timestamps: {error or type(error).__name__}",
                where=str(where),
                remedy='write one number a line; whole nanoseconds, or say time_unit = "s" under [outputs.DUMP] of '
                "case.toml",
            ) from error


def files_of(place: Path) -> list[Path]:
    """Files of a dump, a frame's folder of raw dumps counting as one."""
    if place.is_dir():
        return sorted(p for p in place.iterdir() if p.suffix in SUFFIXES or (p.is_dir() and p.name.isdecimal()))
    if place.is_file():
        return [place]
    raise RecordingError("no such dump", where=str(place), remedy="give a folder or a file that exists")


def moment_name(file: Path) -> str | None:
    """The number that a frame's file or folder is called by, None where it is called otherwise."""
    if file.suffix in MANY:
        return None
    name = file.name if file.is_dir() else file.name.removesuffix(file.suffix)
    return name if _NUMBER.fullmatch(name) else None


def _words(file: Path) -> list[str]:
    try:
        return read_file(file).decode("ascii").split()
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
