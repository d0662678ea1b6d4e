"""Ending whatever a process of ours started, also what left its group: daemons carry a mark in their environment.

A program that calls `setsid` is out of reach of a signal to its group. What it inherited is not: every process of ours
gets an environment variable of its own, and on Linux the environment of a process can be read. One that empties its
environment escapes; a container holds that too (docs/security.md).
"""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
from collections.abc import Iterator
from pathlib import Path

__all__ = ["MARK", "end_marked", "new_mark"]

MARK = "TRUELINE_PROCESS"  # environment variable of a process of ours and of all that it starts
_ROUNDS = 20  # one that starts others while it is ended


def new_mark() -> str:
    """A mark that no other process has, behind those of the processes that we were started by."""
    return f"{os.environ.get(MARK, '')}/{secrets.token_hex(8)}"


def end_marked(mark: str, first: int) -> None:
    """End every process with the mark; does nothing where there is no /proc.

    Args:
        mark: of `new_mark`.
        first: number of the process that got it first; what it started has a later one, until numbers begin anew.
    """
    said = f"{MARK}={mark}".encode()
    for _ in range(_ROUNDS):
        found = [pid for pid in _later(first) if any(said == v or v.startswith(said + b"/") for v in _environment(pid))]
        for pid in found:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        if not found:
            return


def _later(first: int) -> Iterator[int]:
    """Numbers of the processes that may have been started after this one."""
    with contextlib.suppress(OSError):
        begun_anew = first < os.getpid()
        for name in (entry.name for entry in Path("/proc").iterdir()):
            if name.isdecimal() and (begun_anew or int(name) > first) and int(name) != os.getpid():
                yield int(name)


def _environment(pid: int) -> list[bytes]:
    """Variables of a process; none where it is gone, has ended, or is another user's."""
    try:
        return Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return []
