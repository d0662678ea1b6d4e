"""`check_case`: everything wrong with a case folder, found in one pass, as problems with remedies.

Schema of case.toml, frames.parquet and lines.parquet; every picture of every stream, decoded and counted; sha256 of
every file. A file that is missing or damaged, and therefore short and hashed otherwise too, is one problem, not three.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from cases.columns import Columns
from cases.errors import CaseError, CaseFileError
from cases.files import CASE_TOML, FRAMES, TRUTH, camera_folder, hash_file, hash_problems, hashed_files
from cases.frames import rate_problems, read_frames
from cases.problem import Problem
from cases.readers import open_reader
from cases.readers.base import Stream, ended_early
from cases.schema import CaseMeta, meta_or_problems
from cases.truth import read_truth, truth_problems

__all__ = ["Problem", "check_case"]

Progress = Callable[[str, int], None]
Found = Iterator[tuple[Path, Problem]]


def check_case(root: Path, progress: Progress | None = None) -> list[Problem]:
    """All problems of a case; an empty list means that it can be replayed.

    Args:
        root: the case folder.
        progress: called with a camera's name and the number of its pictures decoded so far.
    """
    root = Path(root)
    meta, problems = meta_or_problems(root)
    if meta is None:
        return problems
    missing = [name for name in meta.sha256 if not (root / name).is_file()]
    frames, found = _tables(root, meta)
    found += _missing(root, missing)
    for camera in meta.cameras:
        found += _stream(root, meta, camera, frames, missing, progress)
    damaged = {path for path, problem in found if problem.kind is CaseFileError}
    found += _hashes(root, meta, damaged)
    found += _outputs(root, meta)
    return [problem for _, problem in found]


def _tables(root: Path, meta: CaseMeta) -> tuple[Columns | None, list[tuple[Path, Problem]]]:
    """What frames.parquet says where it can be used, and the problems of both tables."""
    frames, problems = _frames(root / FRAMES, meta)
    if (root / TRUTH).exists() and frames is not None:
        problems += _truth(root / TRUTH, frames)
    return frames, problems


def _frames(path: Path, meta: CaseMeta) -> tuple[Columns | None, list[tuple[Path, Problem]]]:
    """What is wrong with frames.parquet by itself, or against the frame rate of case.toml."""
    try:
        columns, problems = read_frames(path, list(meta.cameras))
    except CaseError as error:
        return None, [(path, Problem.of(error))]
    if columns is not None:
        problems += rate_problems(columns, meta.fps, str(path))
    return None if problems else columns, [(path, problem) for problem in problems]


def _truth(path: Path, frames: Columns) -> list[tuple[Path, Problem]]:
    try:
        truth = read_truth(path)
    except CaseError as error:
        return [(path, Problem.of(error))]
    return [(path, problem) for problem in truth_problems(truth, frames.of_moments["frame"], str(path))]


def _missing(root: Path, missing: list[str]) -> Found:
    """One problem for each folder that lacks files which case.toml lists; frames.parquet is reported by its reader."""
    folders: dict[Path, list[str]] = {}
    for name in missing:
        if name != FRAMES:
            folders.setdefault((root / name).parent, []).append(Path(name).name)
    for folder, names in folders.items():
        what = f"{names[0]} is missing" if len(names) == 1 else f"{len(names)} files are missing, first {names[0]}"
        yield folder, Problem(what, str(folder), "restore them, or import the recording again", CaseFileError)


def _stream(
    root: Path, meta: CaseMeta, camera: str, frames: Columns | None, missing: list[str], progress: Progress | None
) -> Found:
    """Decode a whole stream; where files are missing, only what is wrong inside the others is worth a word."""
    stream = Stream(root, camera, meta.cameras[camera], meta.sha256)
    scan = open_reader(stream).scan(None if progress is None else lambda count: progress(camera, count))
    folder = camera_folder(root, camera)
    if any((root / name).is_relative_to(folder) for name in missing):
        yield from ((path, problem) for path, problem in scan.problems if path.is_file())
        return
    wanted = 0 if frames is None else int(frames.pictures[camera].max()) + 1  # indices that frames.parquet uses
    for path, problem in scan.problems:
        short = problem.kind is CaseFileError and scan.pictures < wanted
        yield path, replace(problem, what=f"{problem.what} (frames.parquet uses {wanted})") if short else problem
    if all(problem.kind is not CaseFileError for _, problem in scan.problems) and scan.pictures < wanted:
        yield folder, Problem.of(ended_early(folder, scan.pictures, wanted - 1))


def _hashes(root: Path, meta: CaseMeta, damaged: set[Path]) -> Found:
    """Files that are not those of case.toml, but for the damaged ones, which are reported already."""
    inside = {*hashed_files(root), *(name for name in meta.sha256 if (root / name).exists())}
    for name in sorted(inside):
        path = root / name
        if damaged.isdisjoint((path, *path.parents)):
            yield from ((path, problem) for problem in _hash(root, name, meta))


def _hash(root: Path, name: str, meta: CaseMeta) -> list[Problem]:
    try:
        return list(hash_problems(root, name, hash_file(root / name), meta.sha256))
    except CaseFileError as error:  # a named pipe, a device, a file that may not be read
        return [Problem.of(error)]


def _outputs(root: Path, meta: CaseMeta) -> Found:
    """Dumps that case.toml names and that are not there."""
    for name, output in meta.outputs.items():
        path = root / output.path
        if not path.exists():
            where = f"{root / CASE_TOML}, outputs.{name}"
            remedy = "restore the dump, correct path, or remove the table"
            yield path, Problem(f"no outputs at {path}", where, remedy, CaseFileError)
