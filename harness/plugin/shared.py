"""Work that a test session does once, whichever of its processes comes first.

A file lock keeps the others waiting; a note beside the lock says what came out, so that they need not repeat it, not
even a failure. A later session starts afresh: a suite must not pass on the results of another day.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from harness.errors import UsageError
from trueline import TruelineError

__all__ = ["SharedError", "once"]


class SharedError(TruelineError):
    """An error that another process of the session met first; `told` is how it told it."""

    def __init__(self, told: str) -> None:
        super().__init__(told, where="", remedy="")
        self.told = told

    def __str__(self) -> str:
        return self.told


def once(folder: Path, session: str, work: Callable[[Path], dict[str, Any]]) -> dict[str, Any]:
    """Do the work unless this session has done it.

    Args:
        folder: what the work fills; emptied before if an earlier session filled it.
        session: id of the test session, the same in all its processes.
        work: called with the folder; gives JSON values.

    Returns:
        What the work gave, here or in another process.

    Raises:
        UsageError: the folder holds something that no session put there.
        SharedError: the work failed in another process of this session.
        Exception: whatever the work raises here.
    """
    from filelock import FileLock

    folder.parent.mkdir(parents=True, exist_ok=True)
    note = folder.with_name(folder.name + ".session.json")
    with FileLock(folder.with_name(folder.name + ".lock")):
        before = _read(note)
        if before.get("session") == session:
            return _result(before, folder)
        _empty(folder, known=bool(before))
        _write(note, {"session": session})
        try:
            result = work(folder)
        except TruelineError as error:
            _write(note, {"session": session, "error": str(error)})
            raise
        _write(note, {"session": session, "result": result})
        return result


def _result(note: dict[str, Any], folder: Path) -> dict[str, Any]:
    if "result" in note:
        result: dict[str, Any] = note["result"]
        return result
    raise SharedError(note.get("error") or f"another process of this session did not finish {folder}")


def _empty(folder: Path, *, known: bool) -> None:
    import shutil

    if not folder.exists():
        return
    if not known:
        raise UsageError(
            "it exists, and no test session made it",
            where=str(folder),
            remedy="choose another --trueline-out, or remove it",
        )
    shutil.rmtree(folder)


def _read(note: Path) -> dict[str, Any]:
    try:
        value = json.loads(note.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}


def _write(note: Path, value: dict[str, Any]) -> None:
    note.write_text(json.dumps(value, indent=1) + "\n", encoding="utf-8")
