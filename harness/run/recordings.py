"""Where the cases of a run lie now.

A run is moved, mounted elsewhere or read on another machine, so run.json's paths are only where to begin: a case is
looked for where the caller says, where it was, and beside the run as it lay beside it before. The digest of run.json
says whether what is found is what was replayed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.errors import RunError

if TYPE_CHECKING:
    from cases.case import Case

__all__ = ["Recordings"]


class Recordings:
    """The cases of one run.

    Args:
        meta: run.json.
        run: the run folder.
        given: case folders, or folders of them, to look into first.

    Raises:
        CaseError: a folder of `given` is no case and holds none.
    """

    def __init__(self, meta: Mapping[str, Any], run: Path, given: Sequence[Path] = ()) -> None:
        from cases.case import find_cases

        self._said = {str(c["id"]): c for c in meta.get("cases", ())}
        self._run = Path(run).resolve()
        self._given = find_cases(given) if given else []

    def open(self, id: str) -> Case:
        """The recording of a case, as it was replayed.

        Raises:
            RunError: there is none any more, or it has changed.
            CaseError: it cannot be read.
        """
        from cases.case import open_case

        said = self._said.get(id, {})
        changed: Path | None = None
        for folder in self._folders(id, str(said.get("path", ""))):
            case = open_case(folder)
            if said.get("digest") in (None, case.digest()):
                return case
            changed = changed or folder
        if changed is not None:
            raise RunError("the case was changed after the replay", where=str(changed), remedy="replay it again")
        raise RunError("no such case folder", where=str(said.get("path", id)), remedy="say where it is: --cases DIR")

    def _folders(self, id: str, path: str) -> Iterator[Path]:
        """Folders that may be the case, likeliest first."""
        yield from (f for f in self._given if _id_of(f) == id)
        if not path:
            return
        beside = (a.joinpath(*tail) for a in (self._run, *self._run.parents) for tail in _tails(Path(path)))
        for folder in dict.fromkeys([Path(path), *beside]):
            if (folder / "case.toml").is_file():
                yield folder


def _tails(path: Path) -> list[tuple[str, ...]]:
    """The ends of a path, longest first."""
    parts = path.parts[1:] if path.is_absolute() else path.parts
    return [parts[i:] for i in range(len(parts))]


def _id_of(folder: Path) -> str:
    from cases.schema import read_meta

    return read_meta(folder).id
