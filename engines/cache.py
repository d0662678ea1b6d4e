"""Prepared artefacts (exports, rewritten graphs, plans), kept by content hash and published by one rename.

Nothing here is ever changed after it is published: a reader needs no lock, and two processes that prepare the same
artefact at once end with one of two equal copies.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from engines.errors import ExportError

__all__ = ["digest", "folder_of", "publish", "write_text"]


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
    draft = Path(tempfile.mkdtemp(prefix=".draft-", dir=folder.parent))
    try:
        yield draft
        draft.chmod(0o755)
        try:
            draft.rename(folder)
        except OSError:
            if not folder.is_dir():
                raise
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def write_text(path: Path, text: str) -> None:
    """Write a small file in one rename."""
    handle, draft = tempfile.mkstemp(prefix=".draft-", dir=path.parent)
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(text)
    Path(draft).replace(path)
