"""An opened case: its moments, calibration, truth, and the pictures as a stream of ticks.

case = open_case(Path("cases/bend_01"))
for tick in case.ticks(["front"]):
    tick.pictures["front"].data  # one moment at a time; a clip is never held whole
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import chain, repeat
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from cases.columns import BLOCK_ROWS, NO_PICTURE, Columns
from cases.errors import CaseError, CaseSchemaError
from cases.files import CASE_TOML, DUMP_SUFFIXES, FRAMES, OUTPUTS, TRUTH, hash_file_once, hash_problems
from cases.frame_rows import EGO_COLUMNS
from cases.frames import rate_problems, read_frames
from cases.picture import Ego, Picture, Tick
from cases.problem import raise_first
from cases.readers import open_reader
from cases.readers.base import Stream
from cases.schema import CaseMeta, Output, read_meta
from cases.truth import read_truth, truth_problems

__all__ = ["Calibration", "Case", "find_cases", "open_case"]

_MOMENT = re.compile(r"\d+(?:\.\d+)?")  # the name of one frame of a dump


@dataclass(frozen=True, slots=True)
class Calibration:
    """Geometry of one camera; None where the recording does not know it.

    Attributes:
        width: pixels; 0 for tensors.
        height: pixels; 0 for tensors.
        intrinsics: K, float64 [3, 3], pixels.
        distortion_model: `none`, `opencv` or `fisheye`.
        distortion: coefficients in OpenCV's order, float64 [n].
        camera_to_vehicle: float64 [4, 4], metres; camera x right, y down, z forward; vehicle x forward, y left, z up.
    """

    width: int
    height: int
    intrinsics: NDArray[np.float64] | None
    distortion_model: str
    distortion: NDArray[np.float64]
    camera_to_vehicle: NDArray[np.float64] | None


@dataclass(frozen=True)
class Case:
    """One recorded clip; `open_case` makes it, and has checked what stands in its tables.

    Tables are read when they are asked for, and again after `forget`, so that a thousand cases can be open.

    Attributes:
        root: the case folder.
        meta: what case.toml says.
        clipped: first and last number of the frames that were kept; None: the case is whole.
    """

    root: Path
    meta: CaseMeta
    clipped: tuple[int, int] | None = None

    @cached_property
    def length(self) -> int:
        """Number of moments."""
        return len(self.frame_numbers)

    def forget(self) -> None:
        """Drop the tables from memory; they are read again when they are asked for."""
        self.__dict__.pop("_columns", None)

    @property
    def id(self) -> str:
        """Name of the case."""
        return self.meta.id

    @property
    def fps(self) -> float:
        """Nominal moments a second."""
        return self.meta.fps

    @property
    def cameras(self) -> tuple[str, ...]:
        """Names of the cameras in the order of case.toml."""
        return tuple(self.meta.cameras)

    @property
    def moments(self) -> pl.DataFrame:
        """One row per moment: frame, timestamp_ns, and what is known of ego motion (null where unknown)."""
        return pl.DataFrame(dict(self._columns.of_moments), nan_to_null=True)

    @property
    def frame_numbers(self) -> NDArray[np.int64]:
        """Number of every moment, strictly increasing, int64 [frames]; a missing number is a dropped moment."""
        return self._columns.of_moments["frame"]

    @property
    def timestamps_ns(self) -> NDArray[np.int64]:
        """Time of every moment, strictly increasing, int64 [frames]; the earliest where cameras differ."""
        return self._columns.of_moments["timestamp_ns"]

    def ego(self, frames: NDArray[np.int64]) -> dict[str, NDArray[np.float64]]:
        """What is known of ego motion at moments, by column of frames.parquet; NaN where unknown."""
        at = np.searchsorted(self.frame_numbers, frames)
        return {name: values[at] for name, values in self._columns.of_moments.items() if name in EGO_COLUMNS}

    @cached_property
    def _columns(self) -> Columns:
        """What frames.parquet says.

        Raises:
            CaseError: it is unreadable, not the file that was hashed, or breaks its schema.
        """
        columns = _checked_columns(self.root, self.meta)
        return columns if self.clipped is None else columns.between(*self.clipped)

    def clip(self, first: int, last: int) -> Case:
        """The same case with the frames from number `first` to `last`, both included; its truth is cut alike."""
        return replace(self, clipped=(first, last))

    def ticks(
        self,
        cameras: Sequence[str] | None = None,
        start: int = 0,
        stop: int | None = None,
        *,
        pictures: bool = True,
    ) -> Iterator[Tick]:
        """The moments at positions start to stop of the frame list, with the pictures of the cameras asked for.

        A moment at which one of these cameras has no picture is left out. Every array belongs to the caller.

        Args:
            cameras: names; None for all cameras of the case.
            start: first position in the frame list, as in a slice.
            stop: the position after the last; None for the end.
            pictures: without them the moments are the same; files of pictures are held against their hashes, and
                nothing is decoded.

        Raises:
            CaseSchemaError: a camera that the case does not have.
            CaseFileError: while iterating; a stream is missing, changed, truncated or undecodable.
        """
        names = self.cameras if cameras is None else tuple(cameras)
        for name in names:
            self._require(name)
        return self._ticks(names, range(self.length)[start:stop], pictures=pictures)

    def _ticks(self, cameras: tuple[str, ...], span: range, *, pictures: bool) -> Iterator[Tick]:
        """Columns and picture streams walked side by side."""

        def walked(column: NDArray[Any]) -> Iterator[Any]:
            """A column's values at the moments that are kept; memoryviews give plain numbers without lists of them."""
            return chain.from_iterable(column[at].data for at in self._kept(cameras, span))

        names = cameras if pictures else ()
        streams = [self._stream(name, walked(self._columns.pictures[name])) for name in names]
        shown: Iterable[tuple[Picture, ...]] = zip(*streams, strict=True) if streams else repeat(())
        try:
            self._check_pictures(() if pictures else cameras)
            columns = walked(self.frame_numbers), walked(self.timestamps_ns), self._egos(walked), shown
            for frame, time_ns, ego, of_frame in zip(*columns, strict=False):
                yield Tick(frame, time_ns, dict(zip(names, of_frame, strict=True)), ego)
        except CaseError as error:
            error.within(f"case {self.id}")
            raise

    def _kept(self, cameras: tuple[str, ...], span: range) -> Iterator[NDArray[np.int64]]:
        """Positions at which all these cameras have a picture, a block at a time."""
        for first in range(span.start, span.stop, BLOCK_ROWS):
            at = np.arange(first, min(first + BLOCK_ROWS, span.stop))
            for name in cameras:
                at = at[self._columns.pictures[name][at] != NO_PICTURE]
            yield at

    def _check_pictures(self, cameras: Iterable[str]) -> None:
        """Stop at a file of these cameras that is missing or not the one that was hashed."""
        for name in cameras:
            for file in (f for f in self.meta.sha256 if f.startswith(f"cameras/{name}/")):
                raise_first(list(hash_problems(self.root, file, hash_file_once(self.root / file), self.meta.sha256)))

    def _stream(self, name: str, indices: Iterable[int]) -> Iterator[Picture]:
        reader = open_reader(Stream(self.root, name, self.meta.cameras[name], self.meta.sha256))
        return reader.pictures(indices)

    def _egos(self, walked: Callable[[NDArray[Any]], Iterator[Any]]) -> Iterator[Ego]:
        """Ego motion of the moments wanted; one shared object where the recording knows none."""
        known = [name for name in EGO_COLUMNS if name in self._columns.of_moments]
        if not known:
            return repeat(Ego())
        columns = [walked(self._columns.of_moments[name]) for name in known]
        return (
            Ego(**{name: None if value != value else value for name, value in zip(known, row, strict=True)})
            for row in zip(*columns, strict=True)
        )

    def truth(self) -> pl.DataFrame | None:
        """Ground-truth lines (frame, line, slot?, class, score, topology, x, y) or None where there are none.

        Raises:
            CaseError: lines.parquet is unreadable, not the file that was hashed, or breaks its schema.
        """
        labels = self._labels()
        return None if labels is None else labels.filter(pl.col("x").list.len() > 0)

    def labelled_frames(self) -> NDArray[np.int64]:
        """Numbers of the moments with ground truth, those that were found to have no line among them; increasing.

        Raises:
            CaseError: as `truth`.
        """
        labels = self._labels()
        return np.zeros(0, np.int64) if labels is None else np.unique(labels["frame"].to_numpy()).astype(np.int64)

    def _labels(self) -> pl.DataFrame | None:
        """lines.parquet, None where there is none."""
        path = self.root / TRUTH
        if not path.exists() and TRUTH not in self.meta.sha256:
            return None
        truth = read_truth(path)
        problems = [] if self.clipped else truth_problems(truth, self.frame_numbers, str(path))
        problems += hash_problems(self.root, TRUTH, hash_file_once(path), self.meta.sha256)
        raise_first(problems)
        return truth if self.clipped is None else truth.filter(pl.col("frame").is_between(*self.clipped))

    def calibration(self, camera: str) -> Calibration:
        """Geometry of one camera.

        Raises:
            CaseSchemaError: a camera that the case does not have.
        """
        self._require(camera)
        meta = self.meta.cameras[camera]
        return Calibration(
            meta.width,
            meta.height,
            None if meta.intrinsics is None else np.array(meta.intrinsics, np.float64),
            meta.distortion.model,
            np.array(meta.distortion.coefficients, np.float64),
            None if meta.extrinsics is None else np.array(meta.extrinsics, np.float64),
        )

    def outputs(self) -> dict[str, tuple[Path, Output]]:
        """Outputs dumped on the car: name -> (file or folder, what case.toml says of them).

        What lies in the case's folder outputs/ belongs to them without a word in case.toml, under its own name: that of
        the folder, or of the file without its suffix. What case.toml names comes first, with all that lies in it or
        around it; names that are numbers are frames of one dump, which case.toml must name.
        """
        named = {name: (self.root / output.path, output) for name, output in self.meta.outputs.items()}
        taken = [path.resolve() for path, _ in named.values()]
        for path in sorted((self.root / OUTPUTS).glob("[!.]*")):
            place, name = path.resolve(), path.name if path.is_dir() else path.stem
            known = any(place.is_relative_to(other) or other.is_relative_to(place) for other in taken)
            if not known and _is_dump(path) and not _MOMENT.fullmatch(name):
                named[path.name if name in named else name] = (path, Output(path=f"{OUTPUTS}/{path.name}"))
        return named

    def digest(self) -> str:
        """SHA-256 of what a replay reads: the hashes of all files and the cameras' description, not id or tags."""
        read = self.meta.model_dump(mode="json", include={"fps", "lossy", "truth_frame", "cameras", "sha256"})
        read |= {"clipped": self.clipped} if self.clipped is not None else {}
        return hashlib.sha256(json.dumps(read, sort_keys=True).encode()).hexdigest()

    def _require(self, camera: str) -> None:
        if camera not in self.meta.cameras:
            raise CaseSchemaError(
                f"no camera {camera!r}",
                where=f"case {self.id}, {self.root / CASE_TOML}",
                remedy=f"it has {list(self.cameras)}",
            )


def open_case(root: Path) -> Case:
    """Open a case folder: case.toml and frames.parquet are checked now, pictures as they are read.

    Raises:
        CaseSchemaError: case.toml or frames.parquet does not say what it must, or the case has no frames.
        CaseFileError: frames.parquet is missing, unreadable or not the file that was hashed.
    """
    root = Path(root)
    case = Case(root, read_meta(root))
    assert case.length  # reads and checks the frames; there is no case without one
    return case


def _checked_columns(root: Path, meta: CaseMeta) -> Columns:
    path = root / FRAMES
    columns, problems = read_frames(path, list(meta.cameras))
    if columns is not None:
        problems += rate_problems(columns, meta.fps, str(path))
    problems += hash_problems(root, FRAMES, hash_file_once(path), meta.sha256)
    raise_first(problems)
    assert columns is not None  # where there is none, there is a problem
    return columns


def _is_dump(path: Path) -> bool:
    """Whether a file, or a folder with what lies in it, may hold outputs."""
    if path.is_file():
        return path.suffix in DUMP_SUFFIXES
    return any(inside.suffix in (*DUMP_SUFFIXES, ".raw") for inside in path.rglob("*"))


def find_cases(paths: Iterable[Path]) -> list[Path]:
    """The case folders named by paths, each a case folder or a folder of case folders; each once, in order.

    Raises:
        CaseError: a path that is neither.
    """
    found: dict[Path, None] = {}
    for path in map(Path, paths):
        inside = [path] if (path / CASE_TOML).exists() else sorted(p.parent for p in path.glob(f"[!.]*/{CASE_TOML}"))
        if not inside:
            raise CaseError(
                "no cases here" if path.is_dir() else "no such folder",
                where=str(path),
                remedy="give a case folder or a folder of case folders; trueline case import makes one",
            )
        found.update(dict.fromkeys(inside))
    return list(found)
