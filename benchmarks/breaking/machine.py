"""No room on the disk, little memory, few descriptors, two writers: one line, exit code 2, nothing half-written."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path

from benchmarks.breaking.kills import LEFT
from benchmarks.breaking.trials import COMMAND, Results, command, environment, trouble_of

__all__ = ["run"]

ENGINES = ("--engines", "ort-fp32", "--out", "new/run")
COMMANDS: dict[str, tuple[str, ...]] = {
    "replay": ("replay", "tiny/tiny.toml", "--cases", "cases", *ENGINES),
    "isolated": ("replay", "tiny/tiny.toml", "--cases", "cases", "--isolate", *ENGINES),
    "outputs": ("outputs", "identity", "--case", "tensors/c0", "--engine", "ort-fp32", "--out", "new/out.json"),
    "gate": ("gate", "small", "--junit", "new/junit.xml"),
    "report": ("report", "small", "--out", "new/report.html"),
    "explain": ("explain", "small"),
    "import": ("case", "import", "pictures", "--id", "x", "--out", "new"),
    "synth": ("case", "synth", "--seed", "1", "--count", "1", "--seconds", "0.2", "--out", "new"),
    "train": ("train", "tiny/task.toml", "--out", "new/candidate"),
    "check": ("model", "check", "identity"),
}
GIB = 2**30
LIMITS: dict[str, tuple[dict[str, int], ...]] = {
    "full disk": tuple({"RLIMIT_FSIZE": size} for size in (0, 200, 4_000, 60_000)),
    "low memory": tuple({"RLIMIT_AS": size} for size in (GIB // 2, GIB, 2 * GIB, 3 * GIB)),
    "few descriptors": tuple({"RLIMIT_NOFILE": number} for number in (5, 8, 16, 24)),
}


def run(world: Path, results: Results) -> None:
    """Every command under every limit, and pairs of writers at one place."""
    wanted = {
        f"machine/{limit}/{name}-{number}": (name, limits)
        for limit, steps in LIMITS.items()
        for number, limits in enumerate(steps)
        for name in COMMANDS
    }
    for trial in results.left(list(wanted)):
        name, limits = wanted[trial]
        with _copy(world) as folder:
            results.add(trial, _limited(Path(folder), COMMANDS[name], limits))
    for trial in results.left([f"machine/two writers/{name}" for name in ("replay", "gate", "report", "outputs")]):
        with _copy(world) as folder:
            results.add(trial, _two(Path(folder), COMMANDS[trial.rpartition("/")[2]]))


def _copy(world: Path) -> tempfile.TemporaryDirectory[str]:
    folder = tempfile.TemporaryDirectory(prefix="trueline-machine-")
    for name in ("tiny", "identity", "cases", "tensors", "pictures", "small"):
        shutil.copytree(world / name, Path(folder.name) / name)
    (Path(folder.name) / "new").mkdir()
    return folder


def _limited(folder: Path, arguments: tuple[str, ...], limits: dict[str, int]) -> str:
    """With little memory the interpreter or a library may end the process before we can say why: that is no lie."""
    done = command(*arguments, cwd=folder, limits=limits)
    if "RLIMIT_AS" in limits and (done.returncode < 0 or "harness/cli" not in done.stderr):
        return "" if done.returncode != 1 else f"exit code 1: {done.stderr.strip()[-200:]}"
    return trouble_of(done, (0, 2, 3)) or _left_over(folder, limits.get("RLIMIT_FSIZE"))


def _left_over(folder: Path, cut_at: int | None) -> str:
    drafts = [p for form in LEFT for p in (folder / "new").rglob(form)]
    cut = [p for p in (folder / "new").rglob("*") if cut_at and p.is_file() and p.stat().st_size == cut_at]
    left = sorted(p.relative_to(folder).as_posix() for p in (*drafts, *cut))
    return f"left over: {left[0]}" if left else ""


def _two(folder: Path, arguments: tuple[str, ...]) -> str:
    """Two processes at one place: each ends well or says that the other is at it; then it is whole."""
    pair = [
        subprocess.Popen(
            [*COMMAND, *arguments],
            cwd=folder,
            env=environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    ended = []
    for process in pair:
        out, err = process.communicate(timeout=600)
        ended.append(subprocess.CompletedProcess(process.args, process.returncode, out, err))
    troubles = [trouble_of(done, (0, 1, 2, 3)) for done in ended]
    if all(done.returncode == 2 for done in ended):
        troubles.append("both gave up")
    return (
        next(filter(None, troubles), "")
        or trouble_of(command(*arguments, cwd=folder), (0, 1, 3))
        or _left_over(folder, None)
    )
