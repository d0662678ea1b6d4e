"""Writing a case folder: all of it appears at once, or nothing does.

    with CaseWriter(out, id="bend_01", fps=20.0, source="...", licence="...", lossy=False) as case:
        folder = case.add_camera("front", CameraMeta(kind="images", pixel_format="rgb24", width=640, height=360))
        ...  # write folder / "images" / "000000.png" and so on
        case.set_frames(frames)
        case.set_truth(lines)
    case.path  # out / "bend_01"

The folder is built under a temporary name beside its final place, hashed, checked for order, and renamed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

import numpy as np
import polars as pl

from cases.columns import BLOCK_ROWS
from cases.errors import CaseError, CaseSchemaError
from cases.files import FRAMES, TRUTH, camera_folder, hash_file, hashed_files
from cases.frame_rows import EGO_COLUMNS, FRAME_COLUMNS
from cases.frames import frames_of
from cases.problem import raise_first
from cases.schema import CAMERA_PATTERN, ID_PATTERN, TOLERANCE_MS, CameraMeta, read_meta, validated, write_meta
from cases.truth import TRUTH_COLUMNS, truth_problems
from trueline._drafts import draft_in, remove_tree

__all__ = ["CaseWriter", "require_free", "seal_case"]


class CaseWriter:
    """Builds OUT/ID; leaves nothing behind where an error passes through.

    Args:
        out: folder that will hold the case folder; made if absent.
        id: name of the case and of its folder.
        fps: nominal frames a second.
        lossy: whether frames went through a lossy codec.
        truth_frame: frame of the lines given to `set_truth`: `vehicle` (metres) or `image` (pixels).

    Raises:
        CaseError: OUT/ID exists already, or what was given is no valid case; raised when entering or leaving.
    """

    def __init__(
        self,
        out: Path,
        *,
        id: str,
        fps: float,
        lossy: bool,
        source: str = "",
        licence: str = "",
        tags: Sequence[str] = (),
        drive: str = "",
        truth_frame: Literal["vehicle", "image"] = "vehicle",
    ) -> None:
        require_free(Path(out), id)
        self.path = Path(out) / id
        self._said: dict[str, Any] = {
            "id": id,
            "fps": fps,
            "lossy": lossy,
            "source": source,
            "licence": licence,
            "tags": tuple(tags),
            "drive": drive,
            "truth_frame": truth_frame,
        }
        self._cameras: dict[str, CameraMeta] = {}
        self._outputs: dict[str, dict[str, str | float]] = {}
        self._frames: pl.DataFrame | None = None
        self._truth: pl.DataFrame | None = None
        self._folder: Path | None = None

    @property
    def folder(self) -> Path:
        """The folder being built; only inside the `with` block."""
        if self._folder is None:
            raise RuntimeError("a CaseWriter is used inside its with block")
        return self._folder

    def add_camera(self, name: str, meta: CameraMeta) -> Path:
        """Declare a camera; returns its folder, in which `video.*`, `images/` or `tensors/` is to be written."""
        _require_name(name, CAMERA_PATTERN, "camera")
        self._cameras[name] = meta
        folder = camera_folder(self.folder, name)
        part = {"video": folder, "images": folder / "images", "tensors": folder / "tensors"}[meta.kind]
        part.mkdir(parents=True, exist_ok=True)
        return folder

    def set_frames(self, frames: pl.DataFrame) -> None:
        """The frames table: frame, timestamp_ns, camera, index, and ego columns where known."""
        self._frames = frames

    def set_truth(self, lines: pl.DataFrame | None) -> None:
        """Ground-truth lines: frame, line, slot?, class, score, topology, x, y; None for none."""
        self._truth = lines

    def add_output(self, name: str, path: str, tolerance_ms: float = TOLERANCE_MS) -> None:
        """Outputs dumped on the car: a path inside the case (relative) or outside it (absolute)."""
        self._outputs[name] = {"path": path, "tolerance_ms": tolerance_ms}

    def __enter__(self) -> Self:
        folder = draft_in(self.path.parent)
        try:
            folder.mkdir(parents=True)
        except OSError as error:
            raise CaseError(
                f"cannot write here: {error.strerror}", where=str(self.path.parent), remedy="choose another folder"
            ) from error
        self._folder = folder
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        folder, self._folder = self.folder, None
        try:
            if error is None:
                self._finish(folder)
        finally:
            remove_tree(folder)

    def _finish(self, folder: Path) -> None:
        """Write tables and case.toml, then give the folder its name."""
        frames = self._checked_frames()
        frames.write_parquet(folder / FRAMES, row_group_size=BLOCK_ROWS)
        if self._truth is not None:
            raise_first(truth_problems(self._truth, np.unique(frames["frame"].to_numpy()), f"{self.path}, {TRUTH}"))
            _conform(self._truth, TRUTH_COLUMNS).sort("frame", "line").write_parquet(folder / TRUTH)
        said = {**self._said, "cameras": self._cameras, "outputs": self._outputs, "sha256": _hashes(folder)}
        write_meta(folder, validated(said, str(self.path)))
        try:
            folder.rename(self.path)
        except OSError as error:
            raise CaseError(
                f"cannot put the case in place: {error.strerror}", where=str(self.path), remedy="remove what is there"
            ) from error

    def _checked_frames(self) -> pl.DataFrame:
        where = f"{self.path}, {FRAMES}"
        if self._frames is None:
            raise CaseSchemaError("no frames were set", where=where, remedy="call set_frames before the block ends")
        blocks = self._frames.iter_slices(BLOCK_ROWS) if self._frames.height else [self._frames]
        raise_first(frames_of(blocks, list(self._cameras), where).problems)
        return _conform(self._frames, {**FRAME_COLUMNS, **EGO_COLUMNS}).sort("frame", "camera")


def require_free(out: Path, id: str) -> None:
    """Before any work: the id is a plain name, and OUT/ID is free.

    Raises:
        CaseSchemaError: an id that is no name.
        CaseError: OUT/ID exists.
    """
    _require_name(id, ID_PATTERN, "id")
    if (out / id).exists():
        raise CaseError("the case exists already", where=str(out / id), remedy="choose another id, or remove it")


def _require_name(name: str, pattern: str, key: str) -> None:
    if not re.fullmatch(pattern, name):
        raise CaseSchemaError(f"{key} {name!r} does not match {pattern}", where=key, remedy="choose a plain name")


def seal_case(root: Path) -> None:
    """Write the [sha256] table of a case anew, after its files were changed on purpose.

    Comments of case.toml are lost, and an older schema version becomes the current one.

    Raises:
        CaseSchemaError: case.toml cannot be read.
    """
    root = Path(root)
    write_meta(root, read_meta(root).model_copy(update={"sha256": _hashes(root)}))


def _hashes(root: Path) -> dict[str, str]:
    return {name: hash_file(root / name) for name in hashed_files(root)}


def _conform(table: pl.DataFrame, schema: Mapping[str, pl.DataType | type[pl.DataType]]) -> pl.DataFrame:
    """The columns of a schema that the table has, in its order and types."""
    return table.select(pl.col(name).cast(dtype) for name, dtype in schema.items() if name in table.columns)
