"""Where things lie in a case folder, and the hash that pins them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path

from cases.errors import CaseFileError
from cases.problem import Problem
from trueline._reading import open_file

__all__ = [
    "CASE_TOML",
    "DUMP_SUFFIXES",
    "FRAMES",
    "OUTPUTS",
    "TRUTH",
    "camera_folder",
    "hash_file",
    "hash_file_once",
    "hash_problems",
    "hashed_files",
]

CASE_TOML = "case.toml"
FRAMES = "frames.parquet"
TRUTH = "lines.parquet"
OUTPUTS = "outputs"
DUMP_SUFFIXES = (".npz", ".safetensors", ".json", ".jsonl", ".parquet")  # as engines.formats reads them
MUST_BE_HASHED = ("cameras", FRAMES, TRUTH)

_known: dict[tuple[str, int, int, int], str] = {}


def camera_folder(root: Path, camera: str) -> Path:
    """Folder of one camera's stream."""
    return root / "cameras" / camera


def hash_file(path: Path) -> str:
    """SHA-256 of a file in hexadecimal, read in blocks.

    Raises:
        CaseFileError: the file is missing or cannot be read.
    """
    try:
        with open_file(path) as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise CaseFileError(
            f"cannot read {path.name}: {error.strerror}", where=str(path), remedy="restore the file or its rights"
        ) from error


def hash_file_once(path: Path) -> str:
    """Like `hash_file`, but a file that nobody has written since is hashed once in a process.

    The time of the last change counts, which no program can set back, unlike that of the last write.
    """
    try:
        stat = path.stat()
    except OSError:
        return hash_file(path)
    key = (str(path.absolute()), stat.st_ino, stat.st_size, stat.st_ctime_ns)
    if key not in _known:
        _known[key] = hash_file(path)
    return _known[key]


def hashed_files(root: Path) -> Iterator[str]:
    """Every file that case.toml must list under [sha256], relative to the case, sorted."""
    for name in sorted(MUST_BE_HASHED):
        top = root / name
        if top.is_file():
            yield name
        elif top.is_dir():
            yield from sorted(p.relative_to(root).as_posix() for p in top.rglob("*") if not p.is_dir())


def hash_problems(root: Path, name: str, found: str, listed: Mapping[str, str]) -> Iterator[Problem]:
    """At most one problem: the file NAME of the case at ROOT has the hash `found`, but case.toml lists another or none.

    Args:
        root: the case folder.
        name: path inside the case, as a key of [sha256].
        found: what the file hashes to.
        listed: the [sha256] table.
    """
    if name not in listed:
        yield Problem(
            "the file has no sha256 in case.toml",
            f"{root / name}",
            "remove the file, or seal the case (cases.writer.seal_case) if it belongs to it",
            CaseFileError,
        )
    elif found != listed[name]:
        yield Problem(
            f"sha256 is {found[:12]}..., case.toml has {listed[name][:12]}...: not the file that was recorded",
            f"{root / name}",
            "restore the file; if the change is meant, seal the case again (cases.writer.seal_case)",
            CaseFileError,
        )
