"""Trials and their results: one line a trial in a JSON file, so that a stopped run goes on."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

__all__ = ["ROOT", "Results", "command", "table", "trouble_of"]

ROOT = Path(__file__).parents[2]
COMMAND = (sys.executable, "-m", "harness.cli")
LIMIT_S = 600.0


class Said(Protocol):
    """A command that has ended."""

    @property
    def returncode(self) -> int:
        """Its exit code, negative where a signal ended it."""
        ...

    @property
    def stdout(self) -> str:
        """What it printed."""
        ...

    @property
    def stderr(self) -> str:
        """What it complained of."""
        ...


@dataclass
class Results:
    """What became of every trial: empty text where it was survived, else what went wrong."""

    path: Path
    known: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        if self.path.exists():
            lines = self.path.read_text(encoding="utf-8").splitlines()
            self.known = dict(json.loads(line) for line in lines if line.endswith("]"))

    def left(self, names: Iterable[str]) -> Iterator[str]:
        """Trials that were not survived yet."""
        return (name for name in names if self.known.get(name, "never tried"))

    def add(self, name: str, trouble: str) -> None:
        """Keep one result."""
        self.known[name] = trouble
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps([name, trouble]) + "\n")
        if trouble:
            print(f"{name}: {trouble[:300]}", flush=True)


def command(
    *arguments: object, cwd: Path, limits: Mapping[str, int] | None = None, timeout_s: float = LIMIT_S
) -> subprocess.CompletedProcess[str]:
    """Run `trueline`, with limits of `resource` by name."""
    argv = [*COMMAND, *map(str, arguments)]
    if limits:
        code = "import resource, runpy, signal, sys\nsignal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        code += "".join(f"resource.setrlimit(resource.{name}, ({n}, {n}))\n" for name, n in limits.items())
        code += "sys.argv[0] = 'trueline'\nrunpy.run_module('harness.cli', run_name='__main__')"
        argv = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.run(
        argv,
        cwd=cwd,
        capture_output=True,
        text=True,
        errors="replace",
        timeout=timeout_s,
        env=environment(),
        check=False,
    )


def environment() -> dict[str, str]:
    """Ours, one thread a library, the packages of this folder."""
    return {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}


def trouble_of(done: Said, codes: tuple[int, ...]) -> str:
    """What is wrong with how a command ended; empty where nothing is."""
    if "Traceback (most recent call last)" in done.stderr:
        return f"traceback: {done.stderr.strip().splitlines()[-2 if done.returncode == 4 else -1]}"
    if done.returncode not in codes:
        return f"exit code {done.returncode}: {done.stderr.strip()[-300:]}"
    if "\x1b" in done.stdout + done.stderr:
        return "an escape sequence of others reached the terminal"
    return ""


def table(results: Results) -> str:
    """Markdown: group, kind, tried, survived, and the first trouble of each kind."""
    tried, survived = Counter[str](), Counter[str]()
    first: dict[str, str] = defaultdict(str)
    for name, trouble in results.known.items():
        kind = "/".join(name.split("/")[:2])
        tried[kind] += 1
        survived[kind] += not trouble
        first[kind] = first[kind] or trouble
    rows = ["| kind | tried | survived | first trouble |", "|---|---|---|---|"]
    for kind in sorted(tried):
        rows.append(f"| {kind} | {tried[kind]} | {survived[kind]} | {first[kind][:120].replace('|', '/')} |")
    rows.append(f"| all | {sum(tried.values())} | {sum(survived.values())} | |")
    return "\n".join(rows)
