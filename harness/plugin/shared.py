"""What the processes of a test session share, and how sessions in one folder keep out of each other's way.

    OUT/NAME/             a run, or the verdict and report of a policy; NAME-ID where two sessions want NAME at once
    OUT/.sessions/ID/     of one session: a lease of each of its processes, and notes of what is done
    OUT/.sessions/NAME.owner    whose NAME is: no other session writes or removes it while a process of that one lives

A lease is a file lock, which ends with its process whatever becomes of it. A session that begins sweeps what sessions
without a living process left; a session never goes on with another's results.
"""

from __future__ import annotations

import hashlib
import re
import shutil
import uuid
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.errors import RunError, UsageError
from trueline import TruelineError
from trueline._drafts import replacing
from trueline._reading import json_of

if TYPE_CHECKING:
    from filelock import BaseFileLock

__all__ = ["SharedError", "SharedFolder"]

_ID = re.compile("[0-9a-f]{12}")


class SharedError(TruelineError):
    """An error that another process of the session met first; `told` is how it told it."""

    def __init__(self, told: str) -> None:
        super().__init__(told, where="", remedy="")
        self.told = told

    def __str__(self) -> str:
        return self.told


class SharedFolder:
    """The folder of a session's results, as one of its processes uses it.

    Args:
        out: the folder; sessions may share it.
        session: id of the test session, the same in all its processes.
    """

    def __init__(self, out: Path, session: str) -> None:
        self.out = out
        self._id = hashlib.sha256(session.encode()).hexdigest()[:12]
        self._sessions = out / ".sessions"
        self._own = self._sessions / self._id
        self._lease: BaseFileLock | None = None

    def claim(self, name: str) -> Path:
        """A folder that this session alone fills, not there yet: OUT/NAME, or OUT/NAME-ID while another has that.

        What an ended session left there is removed.

        Raises:
            UsageError: the folder exists, and no session made it.
        """
        self._join()
        with _lock(self._sessions / ".lock"):
            folder, owner = self.out / name, self._sessions / f"{name}.owner"
            if folder.exists() and not owner.exists():
                raise UsageError(
                    "it exists, and no test session made it",
                    where=str(folder),
                    remedy="choose another --trueline-out, or remove it",
                )
            if owner.exists() and self._belongs_to_another(owner):
                folder = self.out / f"{name}-{self._id}"
            else:
                with replacing(owner) as draft:
                    draft.write_text(self._id)
            shutil.rmtree(folder, ignore_errors=True)
            return folder

    def once(self, name: str, work: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """Do the work unless this session has done it.

        Args:
            name: of the work.
            work: gives JSON values.

        Returns:
            What the work gave, here or in another process.

        Raises:
            SharedError: the work failed in another process of this session.
            Exception: whatever the work raises here.
        """
        from harness.run.json import write_json

        self._join()
        note = self._own / f"{name}.json"
        with _lock(self._own / f"{name}.lock"):
            if before := _read(note):
                return _result(before, name)
            write_json(note, {"state": "begun"})
            try:
                result = work()
            except TruelineError as error:
                write_json(note, {"state": "failed", "error": str(error)})
                raise
            write_json(note, {"state": "done", "result": result})
            return result

    def close(self) -> None:
        """This process needs nothing of the session any more."""
        if self._lease is not None:
            self._lease.release()
            self._lease = None

    def _join(self) -> None:
        """Hold a lease from the first work on, and sweep what sessions that have ended left."""
        if self._lease is not None:
            return
        try:
            self._sessions.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise RunError(
                f"cannot write here: {error.strerror}", where=str(self.out), remedy="choose another --trueline-out"
            ) from error
        with _lock(self._sessions / ".lock"):
            self._own.mkdir(exist_ok=True)
            self._lease = _lock(self._own / f"{uuid.uuid4().hex}.lease")
            for ended in (s for s in self._others() if not _lives(s)):
                for folder in self.out.glob(f"*-{ended.name}"):
                    shutil.rmtree(folder, ignore_errors=True)
                shutil.rmtree(ended, ignore_errors=True)

    def _others(self) -> list[Path]:
        """Folders of the other sessions."""
        return [s for s in self._sessions.iterdir() if s.is_dir() and s != self._own]

    def _belongs_to_another(self, owner: Path) -> bool:
        """Whether a living session owns what this file is about; one that cannot be read may be anybody's."""
        id = owner.read_text(encoding="utf-8", errors="replace")
        if id == self._id:
            return False
        asked = [s for s in self._others() if s.name == id] if _ID.fullmatch(id) else self._others()
        return any(_lives(s) for s in asked)


def _lock(path: Path) -> BaseFileLock:
    """A lock that is held; it ends with its `with` block, by `release`, or with this process."""
    from filelock import FileLock

    lock = FileLock(path)
    lock.acquire()
    return lock


def _lives(session: Path) -> bool:
    """Whether a process of that session holds a lease."""
    from filelock import FileLock, Timeout

    for lease in session.glob("*.lease"):
        try:
            FileLock(lease, timeout=0).acquire().lock.release()
        except Timeout:
            return True
    return False


def _result(note: dict[str, Any], name: str) -> dict[str, Any]:
    if note.get("state") == "done":
        result: dict[str, Any] = note["result"]
        return result
    raise SharedError(note.get("error") or f"another process of this session did not finish {name}")


def _read(note: Path) -> dict[str, Any]:
    """A note; empty where there is none, or none that can be read."""
    with suppress(OSError, ValueError):
        value = json_of(note.read_bytes())
        if isinstance(value, dict) and value.get("state") in ("begun", "failed", "done"):
            return value
    return {}
