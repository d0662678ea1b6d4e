"""One process of ours: started in a group of its own, ended with all that it started, its last words kept.

What it prints goes to files that vanish with it, and that are cut to their ends now and then, however much it prints.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from time import monotonic
from typing import IO, Any

from engines.child.descendants import MARK, end_marked, new_mark
from engines.child.pipes import deadline_of
from trueline._text import shown

__all__ = ["Process"]

_GRACE_S = 5.0
_TAIL_BYTES, _TAIL_LINES, _TAIL_CHARS = 4096, 3, 400
_MOST_PRINTED_BYTES = 16 * 2**20  # of what it prints; beyond that only the end is kept
_LOOK_S = 0.2  # how often that is seen to


class Process:
    """A running program; what it prints goes to files that vanish with it.

    Args:
        argv: program and arguments; no shell reads them.
        env: variables added to this process's own.
        cwd: folder it runs in, None for ours.
        pipes: connect its standard input and output to `stdin` and `stdout` of this object.
        pass_fds: file descriptors it inherits under the same numbers.

    Raises:
        OSError: there is no such program or folder, or it may not be run.
    """

    def __init__(
        self,
        argv: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        pipes: bool = False,
        pass_fds: Sequence[int] = (),
    ) -> None:
        self._errors: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115  # lives as long as the process
        self._printed: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115
        self._stopped, self._mark = False, new_mark()
        for file in (self._errors, self._printed):  # so that what is cut off stays off
            fcntl.fcntl(file, fcntl.F_SETFL, fcntl.fcntl(file, fcntl.F_GETFL) | os.O_APPEND)
        try:
            self._popen: subprocess.Popen[Any] = subprocess.Popen(
                list(argv),
                stdin=subprocess.PIPE if pipes else subprocess.DEVNULL,
                stdout=subprocess.PIPE if pipes else self._printed,
                stderr=self._errors,
                env={**os.environ, **(env or {}), MARK: self._mark},
                cwd=cwd,
                pass_fds=tuple(pass_fds),
                start_new_session=True,
                bufsize=0,
            )
        except BaseException:
            self._close_files()
            raise
        if pipes:
            for stream in (self._popen.stdin, self._popen.stdout):
                assert stream is not None  # they are pipes
                os.set_blocking(stream.fileno(), False)

    @property
    def pid(self) -> int:
        """Its number."""
        return self._popen.pid

    @property
    def stdin(self) -> int:
        """File descriptor that writes to its standard input, non-blocking."""
        assert self._popen.stdin is not None  # asked for with pipes=True only
        return self._popen.stdin.fileno()

    @property
    def stdout(self) -> int:
        """File descriptor that reads its standard output, non-blocking."""
        assert self._popen.stdout is not None  # asked for with pipes=True only
        return self._popen.stdout.fileno()

    def wait(self, timeout_s: float | None) -> int | None:
        """Exit code (negative: minus the signal that ended it); None where it still runs after the time limit."""
        deadline = deadline_of(timeout_s)
        while (left_s := deadline - monotonic()) > 0:
            try:
                return self._popen.wait(min(left_s, _LOOK_S))
            except subprocess.TimeoutExpired:
                self.tend()
        return self._popen.poll()

    def tend(self) -> None:
        """Cut what it printed to its end, where it is long."""
        for file in (self._errors, self._printed):
            if not file.closed and (size := os.fstat(file.fileno()).st_size) > _MOST_PRINTED_BYTES:
                end = os.pread(file.fileno(), _TAIL_BYTES, size - _TAIL_BYTES)
                os.ftruncate(file.fileno(), 0)
                os.write(file.fileno(), end)

    def ending(self) -> str:
        """How it ended and its last words, in one line; call it when it has closed its pipes or was stopped."""
        code = self.wait(1.0)
        return f"{_how(code)}{self.last_words()}"

    def last_words(self) -> str:
        """`; stderr ends: ...`, or the end of its standard output where it wrote no errors, or nothing."""
        for name, file in (("stderr", self._errors), ("stdout", self._printed)):
            if words := _tail(file):
                return f"; {name} ends: {words}"
        return ""

    def stop(self, grace_s: float = 0.0) -> None:
        """Close its input, give it time to end by itself, then kill it and all in its group; may be called twice."""
        if self._stopped:
            return
        self._stopped = True
        for stream in (self._popen.stdin, self._popen.stdout):
            if stream is not None:
                stream.close()
        if grace_s:
            self.wait(grace_s)
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._popen.pid, signal.SIGKILL)
        end_marked(self._mark, self._popen.pid)
        self._popen.wait(_GRACE_S)

    def forget(self) -> None:
        """Stop it and drop what it printed."""
        self.stop()
        self._close_files()

    def _close_files(self) -> None:
        self._errors.close()
        self._printed.close()


def _how(code: int | None) -> str:
    if code is None:
        return "still running"
    if code >= 0:
        return f"exit code {code}"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = "unknown"
    return f"ended by signal {-code} ({name}){', as when memory runs out' if name == 'SIGKILL' else ''}"


def _tail(file: IO[bytes]) -> str:
    """The last lines of a file, in one."""
    if file.closed:
        return ""
    size = os.fstat(file.fileno()).st_size
    text = os.pread(file.fileno(), _TAIL_BYTES, max(0, size - _TAIL_BYTES)).decode("utf-8", "replace")
    lines = [shown(line, one_line=True) for line in text.splitlines() if line.strip()]
    return " / ".join(lines[-_TAIL_LINES:])[-_TAIL_CHARS:]
