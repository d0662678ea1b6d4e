"""Files and folders appear whole: they are written as drafts beside their place, and take it in one rename.

A reader sees what was there before or all of the new, whoever else writes at the same time. The name of a draft says
which process fills it: what a process that was killed has left is swept by the next one that writes there.
"""

from __future__ import annotations

import atexit
import os
import re
import secrets
import shutil
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

__all__ = ["draft_in", "remove_tree", "replacing", "sweep_drafts"]

_PREFIX = ".draft-"
_OWNER = re.compile(r"^\.draft-(?P<host>.+)-(?P<pid>\d+)-[0-9a-f]{8}")
ABANDONED_S = 24 * 3600.0  # a draft of another machine, which cannot be asked whether its process lives


def draft_in(folder: Path, suffix: str = "") -> Path:
    """A name for a draft of this process in a folder; nothing is made yet."""
    sweep_drafts(folder)
    return folder / f"{_PREFIX}{_host()}-{os.getpid()}-{secrets.token_hex(4)}{suffix}"


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A draft to write, which takes the place of `path` at the end; where writing fails, `path` is as it was.

    A link is followed; what is no file (a pipe, a terminal) is written as it is.
    """
    path = path.resolve()
    if path.exists() and not path.is_file():
        yield path
        return
    draft = draft_in(path.parent, path.suffix)
    try:
        yield draft
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


def sweep_drafts(folder: Path) -> None:
    """Remove drafts in a folder whose process is gone."""
    for draft in folder.glob(f"{_PREFIX}*"):
        if _is_abandoned(draft):
            remove_tree(draft)
            with suppress(OSError):
                draft.unlink(missing_ok=True)


def remove_tree(folder: Path) -> None:
    """Remove a folder and all that is in it, as far as that can be done; nothing where there is none.

    Where descriptors run out, which may be why it has to go: with one at a time; where there is none, again when the
    process ends.
    """
    _remove(folder)
    if _is_there(folder):
        atexit.register(_remove_at_exit, folder.absolute())


def _remove_at_exit(folder: Path) -> None:
    with suppress(OSError):
        os.close(0)  # who ends reads no more, and libraries keep descriptors to the last
    _remove(folder)


def _remove(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    if _is_there(folder):
        _remove_one_by_one(folder)


def _is_there(folder: Path) -> bool:
    return folder.is_dir() and not folder.is_symlink()


def _remove_one_by_one(folder: Path) -> None:
    with suppress(OSError):
        for path in list(folder.iterdir()):
            if _is_there(path):
                _remove_one_by_one(path)
            else:
                with suppress(OSError):
                    path.unlink()
        folder.rmdir()


def _is_abandoned(draft: Path) -> bool:
    owner = _OWNER.match(draft.name)
    if owner is None or owner["host"] != _host():
        with suppress(OSError):
            return time.time() - draft.stat().st_mtime > ABANDONED_S
        return False
    try:
        os.kill(int(owner["pid"]), 0)
    except ProcessLookupError:
        return True
    except OSError:
        return False
    return False


def _host() -> str:
    """Name of this machine, of letters and digits."""
    return re.sub(r"\W+", "", socket.gethostname()) or "host"
