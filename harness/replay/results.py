"""Results kept for later runs, by what they follow from (result_keys.py): a changed input is another key.

    CACHE/results/cases/KEY/    part files of a case, as a run folder has them
    CACHE/results/tensors/KEY/  outputs of one rung on one case (kept_tensors.py)

An entry is sealed and held against its seal at every use; a damaged one is removed and computed anew. Only cases in
which no rung failed are kept. Above a bound the entries that were used least recently go.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from engines.cache import publish, whole
from engines.sealed import damage, seal
from trueline._drafts import draft_in, remove_tree

__all__ = ["CASES", "LIMIT_BYTES", "TENSORS", "Entry", "Results"]

CASES, TENSORS = "cases", "tensors"
LIMIT_BYTES = 20 * 10**9


@dataclass(frozen=True, slots=True)
class Entry:
    """One kept result: its kind, its folder, its size, and when it was last used (seconds since 1970)."""

    kind: str
    path: Path
    bytes: int
    used_s: float


class Results:
    """Kept results below a cache folder.

    Args:
        cache: folder of prepared artefacts; results lie beside them.
        limit_bytes: what all entries may take together.
    """

    def __init__(self, cache: Path, limit_bytes: int = LIMIT_BYTES) -> None:
        self.folder = cache / "results"
        self._limit_bytes = limit_bytes

    def find(self, kind: str, key: str) -> Path | None:
        """The folder of an entry that is whole; it counts as used now."""
        folder = self.folder / kind / key
        if not whole(folder):
            return None
        with suppress(OSError):
            os.utime(folder)
        return folder

    def copy(self, kind: str, key: str, into: Path) -> bool:
        """Copy an entry to `into`, which is not there yet; false where there is no whole one."""
        folder = self.folder / kind / key
        draft = draft_in(into.parent)
        try:
            if not folder.is_dir():
                return False
            shutil.copytree(folder, draft, copy_function=_linked)
            if damage(draft):  # the copy is what will be read
                whole(folder)
                return False
            draft.rename(into)
        except OSError:
            return False
        finally:
            remove_tree(draft)
        with suppress(OSError):
            os.utime(folder)
        return True

    def keep(self, kind: str, key: str, folder: Path) -> None:
        """Keep a copy of a folder under a key; where it cannot be written, nothing is kept."""
        place = self.folder / kind / key
        if place.is_dir():
            return
        with suppress(OSError):
            place.parent.mkdir(parents=True, exist_ok=True)
            with publish(place) as draft:
                shutil.copytree(folder, draft, dirs_exist_ok=True, copy_function=_linked)
            self.trim()

    def move(self, kind: str, key: str, draft: Path) -> None:
        """Keep a folder made by `draft` itself, likewise."""
        with suppress(OSError):
            seal(draft)
            draft.rename(self.folder / kind / key)
            self.trim()

    def draft(self, kind: str) -> Path:
        """A name for a folder to fill before it is kept; nothing is made yet."""
        return draft_in(self.folder / kind)

    def entries(self) -> list[Entry]:
        """All entries, the one used longest ago first."""
        return sorted(self._entries(), key=lambda entry: entry.used_s)

    def trim(self) -> None:
        """Remove the entries that were used longest ago until the rest is within the bound."""
        entries = self.entries()
        over = sum(entry.bytes for entry in entries) - self._limit_bytes
        for entry in entries:
            if over <= 0:
                return
            remove_tree(entry.path)
            over -= entry.bytes

    def clear(self) -> None:
        """Remove everything."""
        remove_tree(self.folder)

    def _entries(self) -> Iterator[Entry]:
        for kind in (CASES, TENSORS):
            folder = self.folder / kind
            for path in folder.glob("[!.]*"):
                with suppress(OSError):  # another process removes it
                    size = sum(file.stat().st_size for file in path.iterdir())
                    yield Entry(kind, path, size, path.stat().st_mtime)


def _linked(source: str, target: str) -> None:
    """One file in both places where the disk can do that, else a copy: parts and tensors are never written again."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
