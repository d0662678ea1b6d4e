"""Commands as forks of one process that has imported what they import: a trial costs what its command does.

A fork is killed after some seconds of its own CPU time, not of the clock: however busy the machine is, the same share
of the command is done by then. It has memory, descriptors, a working folder and an environment of its own, and is
killed like any process. Nothing is written while a command imports, so nothing is lost by having that behind it. The
process has one thread when it forks.
"""

from __future__ import annotations

import importlib
import json
import os
import runpy
import select
import signal
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

from benchmarks.breaking.trials import ROOT, environment

__all__ = ["Forks"]

MODULES = (
    "av", "cv2", "jinja2", "numpy", "onnx", "pydantic", "pytest", "rich", "scipy.fft", "torch", "torch.export", "typer",
)  # fmt: skip  # polars and onnxruntime start threads, which no fork has: each fork imports them


@dataclass(frozen=True)
class Ended:
    """How a command ended: its exit code, negative where a signal ended it, what it said, its seconds of CPU."""

    returncode: int
    stdout: str
    stderr: str
    cpu_s: float


class Forks:
    """Runs commands `python -m MODULE ...` one at a time; use it with `with`."""

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.breaking.forks"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            text=True, cwd=ROOT, env=environment(),
        )  # fmt: skip
        self._told()  # it has imported everything
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.wait()

    def run(self, argv: tuple[str, ...], folder: Path, *, kill_after_cpu_s: float | None = None, **more: str) -> Ended:
        """Run a command to its end, or kill it.

        Args:
            argv: the interpreter, `-m`, a module, its arguments.
            folder: where it runs.
            kill_after_cpu_s: seconds of its CPU time after which SIGKILL ends it; None: let it end.
            **more: variables of its environment.
        """
        with tempfile.TemporaryDirectory(prefix="trueline-said-") as said:
            out, err = Path(said) / "out", Path(said) / "err"
            self._tell({"argv": argv[2:], "cwd": str(folder), "env": more, "out": str(out), "err": str(err)})
            (pid,) = self._told()
            if kill_after_cpu_s is not None:
                _kill_after(pid, kill_after_cpu_s)
            status, cpu_ns = self._told()
            texts = (path.read_text(encoding="utf-8", errors="replace") for path in (out, err))
            return Ended(os.waitstatus_to_exitcode(status), *texts, cpu_ns / 1e9)

    @property
    def _stdout(self) -> IO[str]:
        assert self._process.stdout is not None  # it is a pipe
        return self._process.stdout

    def _tell(self, wanted: dict[str, Any]) -> None:
        assert self._process.stdin is not None  # it is a pipe
        self._process.stdin.write(json.dumps(wanted) + "\n")
        self._process.stdin.flush()

    def _told(self) -> list[int]:
        return [int(number) for number in self._stdout.readline().split()]


def _kill_after(pid: int, cpu_s: float) -> None:
    """Kill a process once it has had so much CPU time, unless it ends before."""
    clock = (~pid << 3) | 2  # clock_getcpuclockid(3) of Linux: time on a CPU of all threads of the process
    with suppress(OSError):  # it has ended
        handle = os.pidfd_open(pid)
        try:
            while not select.select([handle], [], [], 0.001)[0]:
                if time.clock_gettime(clock) >= cpu_s:
                    signal.pidfd_send_signal(handle, signal.SIGKILL)
                    return
        finally:
            os.close(handle)


def _serve() -> dict[str, Any] | None:
    """Fork for every line; in the fork, what that line asks for."""
    for name in MODULES:
        importlib.import_module(name)
    assert threading.active_count() == len(os.listdir("/proc/self/task")) == 1  # noqa: PTH208  # names are enough
    print(0, flush=True)
    for line in sys.stdin:
        wanted: dict[str, Any] = json.loads(line)
        pid = os.fork()
        if pid == 0:
            return wanted
        print(pid, flush=True)
        status, used = os.wait4(pid, 0)[1:]
        print(status, round((used.ru_utime + used.ru_stime) * 1e9), flush=True)
    return None


def _become(wanted: dict[str, Any]) -> None:
    """Be the command that is wanted."""
    for descriptor, path, flags in (
        (0, os.devnull, os.O_RDONLY),
        (1, wanted["out"], os.O_WRONLY | os.O_CREAT),
        (2, wanted["err"], os.O_WRONLY | os.O_CREAT),
    ):
        opened = os.open(path, flags, 0o600)
        os.dup2(opened, descriptor)
        os.close(opened)
    os.chdir(wanted["cwd"])
    os.environ.update(wanted["env"])
    module, *arguments = wanted["argv"]
    sys.argv, sys.path[0] = [module, *arguments], wanted["cwd"]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__" and (asked := _serve()) is not None:
    _become(asked)
