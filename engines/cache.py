"""Prepared artefacts (exports, rewritten graphs, plans), kept by content hash and published by one rename.

Nothing here is ever changed after it is published: a reader needs no lock, and two processes that prepare the same
artefact at once end with one of two equal copies. A folder is published with a seal (engines/sealed.py), and every use
asks `whole` first: what was damaged since is removed and made anew.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from engines.errors import ExportError
from engines.sealed import damage, seal
from trueline._drafts import draft_in, remove_tree, replacing

__all__ = ["digest", "folder_of", "publish", "whole", "write_text"]


def digest(facts: Mapping[str, Any]) -> str:
    """20 hex digits that change whenever a fact does; facts are JSON values, or have a repr that says all."""
    text = json.dumps(facts, sort_keys=True, default=repr)
    return hashlib.sha256(text.encode()).hexdigest()[:20]


def folder_of(cache: Path, kind: str) -> Path:
    """The folder of one kind of artefact, created.

    Raises:
        ExportError: the cache cannot be written.
    """
    folder = cache / kind
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ExportError(
            f"cannot write the cache: {error.strerror}",
            where=str(folder),
            remedy="make the folder writable or choose another cache folder",
        ) from error
    return folder


@contextmanager
def publish(folder: Path) -> Iterator[Path]:
    """A private folder to fill, which becomes `folder` in one rename; where another was first, theirs stays."""
    draft = draft_in(folder.parent)
    draft.mkdir()
    try:
        yield draft
        seal(draft)
        try:
            draft.rename(folder)
        except OSError:
            if not folder.is_dir():
                raise
    finally:
        remove_tree(draft)


def whole(folder: Path) -> bool:
    """Whether an artefact is there and as it was published; one that is damaged is removed, to be made anew.

    Whoever has opened its files keeps them.
    """
    if not folder.is_dir():
        return False
    if not damage(folder):
        return True
    aside = draft_in(folder.parent)
    with suppress(OSError):  # another process was first
        folder.rename(aside)
    remove_tree(aside)
    return False


def write_text(path: Path, text: str) -> None:
    """Write a small file in one rename."""
    with replacing(path) as draft:
        draft.write_text(text, encoding="utf-8")
