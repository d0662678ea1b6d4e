"""Folders whose files are told by their content: a seal names every file and its SHA-256.

What is kept for later (prepared models, part files of a run) may be damaged before it is read: a bit flips on a disk, a
copy stops half-way. Whoever reads a sealed folder asks `damage` first, and makes it anew where something is wrong.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from trueline._reading import open_file

__all__ = ["SEAL", "damage", "file_sha256", "seal"]

SEAL = "seal.json"


def file_sha256(path: Path) -> str:
    """SHA-256 of a file's content, hex."""
    with open_file(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def seal(folder: Path) -> None:
    """Write the seal of a folder that is complete; it goes into the folder itself."""
    (folder / SEAL).write_text(json.dumps(_content(folder), sort_keys=True), encoding="utf-8")


def damage(folder: Path) -> str:
    """What is wrong with a sealed folder, in a few words; empty where every file is as it was sealed."""
    try:
        sealed = json.loads((folder / SEAL).read_text(encoding="utf-8"))
        found = _content(folder)
    except FileNotFoundError:
        return "it has no seal"
    except (OSError, ValueError, RecursionError):
        return "its seal cannot be read"
    if sealed == found:
        return ""
    if not isinstance(sealed, dict):
        return "its seal cannot be read"
    gone, new = sorted(sealed.keys() - found.keys()), sorted(found.keys() - sealed.keys())
    changed = sorted(name for name in sealed.keys() & found.keys() if sealed[name] != found[name])
    told = [f"{name} {what}" for names, what in ((gone, "is missing"), (changed, "is damaged"), (new, "is foreign"))
            for name in names[:1]]  # fmt: skip
    return ", ".join(told)


def _content(folder: Path) -> dict[str, str]:
    """Every file below a folder but its seal, with its SHA-256."""
    files = (path for path in folder.rglob("*") if path.is_file())
    names = {path.relative_to(folder).as_posix(): path for path in files}
    return {name: file_sha256(path) for name, path in sorted(names.items()) if name != SEAL}
