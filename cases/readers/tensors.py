"""Tensors dumped before the model: `tensors/*.npy`, one array [frames, ...] whose rows become pictures as they are.

Read frame by frame into fresh arrays, not mapped, so that memory stays flat however long the dump is. Hashes are left
to `trueline case check`: hashing a dump costs more than reading it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from typing import Any

import numpy as np

from cases.errors import CaseFileError
from cases.picture import Picture
from cases.problem import Problem, in_one_line
from cases.readers.base import Scan, Stream, bad_file, ended_early
from trueline._outside import outside
from trueline._reading import open_file

__all__ = ["TensorReader"]


@dataclass(frozen=True, slots=True)
class _Layout:
    """Where the frames of a .npy file lie."""

    frames: int
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    offset: int

    @property
    def frame_bytes(self) -> int:
        return math.prod(self.shape) * self.dtype.itemsize


@dataclass(frozen=True, slots=True)
class TensorReader:
    """Reads the one .npy file of a camera of kind `tensors`."""

    stream: Stream

    def pictures(self, indices: Iterable[int]) -> Iterator[Picture]:
        """See `Reader.pictures`; every array is the caller's own."""
        path = self._path()
        with _opened(path) as file:
            layout = _layout(file, path)
            shape, dtype, size = layout.shape, layout.dtype, layout.frame_bytes
            at = 0
            for index in indices:
                if index >= layout.frames:
                    raise ended_early(path, layout.frames, index)
                if index != at:
                    file.seek(layout.offset + index * size)
                data = np.empty(shape, dtype)
                if file.readinto(data.data) != size:
                    raise bad_file(f"the file ends within tensor {index}", path)
                at = index + 1
                yield Picture(data, "tensor", 0, 0)

    def scan(self, progress: Callable[[int], None] | None = None) -> Scan:
        """See `Reader.scan`; header and length are all there is to decode."""
        try:
            path = self._path()
            with _opened(path) as file:
                layout = _layout(file, path)
        except CaseFileError as error:
            return Scan(0, ((self.stream.folder, Problem.of(error)),))
        if progress is not None:
            progress(layout.frames)
        return Scan(layout.frames)

    def _path(self) -> Path:
        folder = self.stream.folder / "tensors"
        found = sorted(folder.glob("*.npy"))
        if len(found) != 1:
            raise bad_file(f"{len(found)} .npy files, must be one", folder)
        return found[0]


def _opened(path: Path) -> FileIO:
    try:
        return open_file(path, 0)  # type: ignore[return-value]  # unbuffered, it is a FileIO
    except OSError as error:
        raise bad_file(f"cannot be read: {error.strerror}", path) from error


def _layout(file: FileIO, path: Path) -> _Layout:
    """Header of a .npy file, checked against the file's length; leaves the file at the first frame."""
    # the header is a Python literal: besides ValueError its parser raises TokenError, MemoryError, ...
    with outside(lambda error: bad_file(f"not a .npy file: {in_one_line(error)}", path)):
        version = np.lib.format.read_magic(file)
        if version not in ((1, 0), (2, 0)):
            raise ValueError(f"format version {version}")
        header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, fortran, dtype = header(file)
    if dtype.hasobject or fortran or len(shape) < 2 or min(shape) < 0 or not all(shape[1:]):
        raise bad_file(
            f"array {shape} of {dtype}{', Fortran order' if fortran else ''} cannot be replayed",
            path,
            "save a C-ordered array of numbers, [frames, ...]",
        )
    layout = _Layout(shape[0], tuple(shape[1:]), dtype, file.tell())
    missing = layout.offset + layout.frames * layout.frame_bytes - path.stat().st_size
    if missing > 0:
        raise bad_file(f"the file is truncated: {missing} bytes of {layout.frames} tensors are missing", path)
    return layout
