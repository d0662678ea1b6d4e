"""Commands ended by SIGKILL at any moment; the same command again must end as it would have undisturbed.

After each kill: nothing of the command still runs, a run that is opened is finished or says that it is not; after the
second command: results equal to an undisturbed one, no draft left over.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.breaking.forks import Forks
from benchmarks.breaking.trials import COMMAND, Results, trouble_of
from engines.child.descendants import MARK

__all__ = ["run"]

LEFT = (".draft-*", "*.tmp", "*.part", ".*.part")


@dataclass(frozen=True)
class Kind:
    """A command that may be killed.

    Attributes:
        argv: what is run in a copy of the world.
        result: what it leaves, as a text that is equal where it did the same.
        codes: how it may end.
        share: of all kills.
    """

    argv: tuple[str, ...]
    result: Callable[[Path], str]
    codes: tuple[int, ...]
    share: float


def _tables(folder: Path) -> str:
    from harness.run.folder import Run
    from harness.run.tables import TABLES

    run = Run.open(folder / "killed")
    told = {name: run.read(name) for name in TABLES if name != "latency"}
    return json.dumps({n: hashlib.sha256(t.write_ipc(None).getvalue()).hexdigest() for n, t in told.items()})


def _verdict(folder: Path) -> str:
    from harness.run.folder import Run

    return json.dumps({k: v for k, v in (Run.open(folder / "run").verdict() or {}).items() if k != "judged_at"})


def _page(folder: Path) -> str:
    text = (folder / "killed.html").read_text(encoding="utf-8")
    return "whole" if text.rstrip().endswith("</html>") else "cut off"


def _imported(folder: Path) -> str:
    from cases.check import check_case

    return f"{check_case(folder / 'imported' / 'x')} {(folder / 'imported' / 'x' / 'case.toml').read_text()}"


def _trained(folder: Path) -> str:
    return hashlib.sha256((folder / "candidate" / "weights.safetensors").read_bytes()).hexdigest()


def _judged(folder: Path) -> str:
    (file,) = (folder / ".trueline" / "pytest").glob("*/verdict.json")
    told = json.loads(file.read_text())
    return json.dumps([told["verdict"], [rule["verdict"] for rule in told["rules"]]])


PYTEST = (sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "toy.trueline.toml")
ENGINES = ("--engines", "ort-fp32", "--out", "killed")
KINDS = {
    "gate": Kind((*COMMAND, "gate", "run"), _verdict, (0, 1, 3), 0.1),
    "report": Kind((*COMMAND, "report", "run", "--out", "killed.html"), _page, (0,), 0.1),
    "import": Kind((*COMMAND, "case", "import", "pictures", "--id", "x", "--out", "imported"), _imported, (0, 2), 0.2),
    "train": Kind((*COMMAND, "train", "tiny/task.toml", "--out", "candidate"), _trained, (0,), 0.15),
    "pytest": Kind(PYTEST, _judged, (0, 1), 0.15),
    "replay": Kind((*COMMAND, "replay", "tiny/tiny.toml", "--cases", "cases", *ENGINES), _tables, (0,), 0.3),
}


def run(world: Path, results: Results, kills: int) -> None:
    """Kill each kind of command its share of times."""
    for name, kind in KINDS.items():
        wanted = [f"kills/{name}/{number}" for number in range(max(round(kills * kind.share), 1))]
        left = list(results.left(wanted))
        if not left:
            continue
        with Forks() as forks:
            with _copy(world) as whole:
                start = time.monotonic()
                done = forks.run(kind.argv, Path(whole))
                lasts_s, trouble = time.monotonic() - start, trouble_of(done, kind.codes)
                expected = kind.result(Path(whole))
            if trouble:
                raise RuntimeError(f"{name} undisturbed: {trouble}")
            for trial in left:
                with _copy(world) as folder:
                    lasted = _trial(forks, kind, Path(folder), lasts_s, expected, random.Random(trial))
                results.add(trial, lasted)


def _copy(world: Path) -> tempfile.TemporaryDirectory[str]:
    folder = tempfile.TemporaryDirectory(prefix="trueline-kill-")
    for name in ("tiny", "identity", "cases", "tensors", "pictures", "run", "toy.trueline.toml"):
        copy = shutil.copytree if (world / name).is_dir() else shutil.copy
        copy(world / name, Path(folder.name) / name)
    return folder


def _trial(forks: Forks, kind: Kind, folder: Path, lasts_s: float, expected: str, draw: random.Random) -> str:
    mark = f"breaking-{draw.getrandbits(64):x}"
    forks.run(kind.argv, folder, kill_after_s=draw.uniform(0.0, 1.1) * lasts_s, **{MARK: mark})
    if left := _still_running(mark):
        return f"still running: {left}"
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
    return found


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
