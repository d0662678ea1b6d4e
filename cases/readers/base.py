"""What the three readers share: where a stream lies, what is declared of it, and what a scan of it finds."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from cases.errors import CaseFileError
from cases.files import camera_folder, hash_problems
from cases.picture import Picture
from cases.problem import Problem, raise_first
from cases.schema import CameraMeta

__all__ = ["Reader", "Scan", "Stream", "bad_file", "ended_early", "wrong_size"]

RESTORE = "restore the file from its source, or import the recording again"


@dataclass(frozen=True, slots=True)
class Stream:
    """One camera of a case: its folder, what case.toml says of it, and the hashes of its files."""

    root: Path
    name: str
    meta: CameraMeta
    sha256: Mapping[str, str]

    @property
    def folder(self) -> Path:
        """cameras/NAME."""
        return camera_folder(self.root, self.name)

    def verify(self, path: Path, found: str) -> None:
        """Stop at a file that is not the one that was hashed.

        Raises:
            CaseFileError: `found` is not the hash that case.toml lists.
        """
        raise_first(list(hash_problems(self.root, path.relative_to(self.root).as_posix(), found, self.sha256)))


@dataclass(frozen=True, slots=True)
class Scan:
    """What decoding a whole stream found: its pictures, and every problem with the file that has it."""

    pictures: int
    problems: tuple[tuple[Path, Problem], ...] = ()


class Reader(Protocol):
    """Sequential access to one camera's pictures; holds one picture at a time."""

    def pictures(self, indices: Iterable[int]) -> Iterator[Picture]:
        """The pictures at strictly increasing positions of the stream, decoded as they are asked for.

        Raises:
            CaseFileError: the file is missing, changed, truncated, undecodable or shorter than an index.
        """
        ...

    def scan(self, progress: Callable[[int], None] | None = None) -> Scan:
        """Decode everything and collect what is wrong; hashes are not looked at."""
        ...


def bad_file(what: str, path: Path, remedy: str = RESTORE) -> CaseFileError:
    """A file of the stream that cannot be used."""
    return CaseFileError(what, where=str(path), remedy=remedy)


def ended_early(path: Path, pictures: int, wanted: int) -> CaseFileError:
    """The stream is shorter than frames.parquet wants."""
    return bad_file(f"the stream ends after {pictures} pictures, frames.parquet wants picture {wanted}", path)


def wrong_size(path: Path, width: int, height: int, meta: CameraMeta) -> CaseFileError:
    """The stream's pictures have another size than case.toml says."""
    return bad_file(
        f"pictures are {width}x{height}, case.toml says {meta.width}x{meta.height}",
        path,
        "correct width and height in case.toml, and the intrinsics with them, or restore the file",
    )
