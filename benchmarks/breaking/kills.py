"""Commands ended by SIGKILL at any moment; the same command again must end as it would have undisturbed.

After each kill: nothing of the command still runs, and a result that lies there is that of before, that of an
undisturbed command, or says that it is not whole. After the second command: results equal to an undisturbed one, no
draft left over. The moments of the kills are spread evenly over the CPU time of each command.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.breaking.forks import Forks
from benchmarks.breaking.trials import COMMAND, Results, trouble_of
from engines.child.descendants import MARK
from trueline import TruelineError

__all__ = ["run"]

LEFT = (".draft-*", "*.tmp", "*.part", ".*.part")


@dataclass(frozen=True)
class Kind:
    """A command that may be killed.

    Attributes:
        argv: what is run in a copy of the world.
        result: what it leaves, as a text that is equal where it did the same.
        codes: how it may end.
    """

    argv: tuple[str, ...]
    result: Callable[[Path], str]
    codes: tuple[int, ...]


def _tables(folder: Path) -> str:
    from harness.run.folder import Run
    from harness.run.tables import TABLES

    run = Run.open(folder / "killed")
    told = {name: run.read(name) for name in TABLES if name != "latency"}
    return json.dumps({n: hashlib.sha256(t.write_ipc(None).getvalue()).hexdigest() for n, t in told.items()})


def _verdict(folder: Path) -> str:
    from harness.run.folder import Run

    told = Run.open(folder / "small").verdict() or {}
    return json.dumps({k: v for k, v in told.items() if k != "judged_at"}).replace(str(folder), "")


def _page(folder: Path) -> str:
    return hashlib.sha256((folder / "killed.html").read_bytes()).hexdigest()


def _imported(folder: Path) -> str:
    from cases.check import check_case

    return f"{check_case(folder / 'imported' / 'x')} {(folder / 'imported' / 'x' / 'case.toml').read_text()}"


def _trained(folder: Path) -> str:
    return hashlib.sha256((folder / "candidate" / "weights.safetensors").read_bytes()).hexdigest()


def _judged(folder: Path) -> str:
    (file,) = (folder / ".trueline" / "pytest").glob("*/verdict.json")
    told = json.loads(file.read_text())
    return json.dumps([told["verdict"], told["rules"]])


PYTEST = (sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "toy.trueline.toml")
ENGINES = ("--engines", "ort-fp32", "--out", "killed")
KINDS = {
    "gate": Kind((*COMMAND, "gate", "small", "--policy", "toy.trueline.toml"), _verdict, (0, 1, 3)),
    "report": Kind((*COMMAND, "report", "run", "--out", "killed.html"), _page, (0,)),
    "import": Kind((*COMMAND, "case", "import", "pictures", "--id", "x", "--out", "imported"), _imported, (0, 2)),
    "train": Kind((*COMMAND, "train", "tiny/task.toml", "--out", "candidate"), _trained, (0,)),
    "pytest": Kind(PYTEST, _judged, (0, 1)),
    "replay": Kind((*COMMAND, "replay", "tiny/tiny.toml", "--cases", "cases", *ENGINES), _tables, (0,)),
}


def run(world: Path, results: Results, kills: int) -> None:
    """Kill each kind of command as often, at moments spread evenly over the CPU time that it takes undisturbed.

    Trials of all kinds are in random order, so that those of a run that is stopped are spread as well.
    """
    each = -(-kills // len(KINDS))
    left = list(results.left([f"kills/{name}/{number}" for name in KINDS for number in range(each)]))
    random.Random(0).shuffle(left)
    undisturbed: dict[str, tuple[float, str, str]] = {}
    with Forks() as forks:
        for trial in left:
            _, name, number = trial.split("/")
            if name not in undisturbed:
                undisturbed[name] = _undisturbed(forks, world, name, KINDS[name])
            cpu_s, *known = undisturbed[name]
            draw = random.Random(trial)
            at = (int(number) + draw.random()) / each
            results.add(trial, _trial(forks, world, KINDS[name], at * cpu_s, known, draw))


def _undisturbed(forks: Forks, world: Path, name: str, kind: Kind) -> tuple[float, str, str]:
    """Seconds of CPU that a command takes, and what lies there before and after it."""
    with _copy(world) as folder:
        before = _lies_there(kind, Path(folder))
        done = forks.run(kind.argv, Path(folder))
        if trouble := trouble_of(done, kind.codes):
            raise RuntimeError(f"{name} undisturbed: {trouble}")
        return done.cpu_s, before, kind.result(Path(folder))


def _copy(world: Path) -> tempfile.TemporaryDirectory[str]:
    folder = tempfile.TemporaryDirectory(prefix="trueline-kill-")
    for name in ("tiny", "identity", "cases", "tensors", "pictures", "run", "small", "toy.trueline.toml"):
        copy = shutil.copytree if (world / name).is_dir() else shutil.copy
        copy(world / name, Path(folder.name) / name)
    return folder


def _lies_there(kind: Kind, folder: Path) -> str:
    """The result, empty where there is none or where it says that it is not whole."""
    try:
        return kind.result(folder)
    except (TruelineError, OSError, ValueError):
        return ""


def _trial(forks: Forks, world: Path, kind: Kind, cpu_s: float, known: Sequence[str], draw: random.Random) -> str:
    """What is wrong after a kill at so much CPU time; one that comes too late is tried again, earlier."""
    while True:
        with _copy(world) as name:
            folder, mark = Path(name), f"breaking-{draw.getrandbits(64):x}"
            killed = forks.run(kind.argv, folder, kill_after_cpu_s=cpu_s, **{MARK: mark})
            if killed.returncode == -signal.SIGKILL:
                if left := _still_running(mark):
                    return left
                if _lies_there(kind, folder) not in ("", *known):
                    return "another result than undisturbed right after the kill"
                return _again(forks, kind, folder, known[1])
        cpu_s *= 0.95


def _again(forks: Forks, kind: Kind, folder: Path, expected: str) -> str:
    """The same command once more ends as it would have undisturbed."""
    done = forks.run(kind.argv, folder)
    if trouble := trouble_of(done, kind.codes):
        return f"run again: {trouble}"
    try:
        found = kind.result(folder)
    except Exception as error:  # whatever it is, there is no result
        return f"no result: {type(error).__name__}: {error}"
    if found != expected:
        return "another result than undisturbed"
    drafts = sorted(p.relative_to(folder).as_posix() for form in LEFT for p in folder.rglob(form))
    return f"left over: {drafts[0]}" if drafts else ""


def _still_running(mark: str) -> str:
    """The command line of a process of the killed command that lives on for seconds."""
    deadline = time.monotonic() + 10
    found = ""
    while time.monotonic() < deadline:
        found = next(filter(None, map(_marked(mark), os.listdir("/proc"))), "")  # noqa: PTH208  # names are enough
        if not found:
            return ""
        time.sleep(0.1)
    return f"still running: {found}"


def _marked(mark: str) -> Callable[[str], str]:
    def line(pid: str) -> str:
        place = Path("/proc") / pid
        try:
            if pid.isdecimal() and f"{MARK}={mark}".encode() in (place / "environ").read_bytes():
                return (place / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            pass
        return ""

    return line
