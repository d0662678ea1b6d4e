"""Ctrl-C and SIGTERM: a line on how to go on, an exit code as shells have it, and nothing left running."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.cli.stopping import KEPT, how_to_go_on

ROOT = Path(__file__).parents[3]
PATIENCE_S = 60


def _until(true: Callable[[], bool]) -> None:
    latest = time.monotonic() + PATIENCE_S
    while not true():
        assert time.monotonic() < latest, "waited too long"
        time.sleep(0.05)


def _running(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def _children(pid: int) -> list[int]:
    return [int(p) for p in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="one core renders in the process itself")
@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="children are counted in /proc")
@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGKILL, -9)], ids=lambda v: str(v)
)
def test_a_command_that_is_stopped_leaves_nothing_running(number: signal.Signals, code: int, tmp_path: Path) -> None:
    out = tmp_path / "drives"
    command = ["case", "synth", "--seed", "1", "--count", "2", "--seconds", "60", "--out", str(out)]
    with subprocess.Popen(
        [sys.executable, "-m", "harness.cli", *command], cwd=ROOT, stderr=subprocess.PIPE, text=True
    ) as process:
        _until(lambda: len(list(out.glob(".draft-*"))) == 2)  # both workers are at it
        children = _children(process.pid)
        assert len(children) >= 2
        process.send_signal(number)
        said = process.communicate(timeout=PATIENCE_S)[1]
    assert process.returncode == code
    _until(lambda: not any(map(_running, children)))
    if number != signal.SIGKILL:
        assert said.splitlines()[-1].startswith("stopped; finished cases are kept, to go on: trueline case synth")
        assert list(out.iterdir()) == []


def test_what_can_go_on_says_the_command() -> None:
    said = how_to_go_on(["replay", "model.toml", "--cases", "my drives", "--out", "runs/a"])
    assert said.endswith("to go on: trueline replay model.toml --cases 'my drives' --out runs/a")


def test_what_starts_afresh_says_no_command() -> None:
    assert how_to_go_on(["explain", "runs/a"]) == "stopped"
    assert how_to_go_on([]) == "stopped"


def test_every_command_that_goes_on_exists() -> None:
    from harness.cli.app import command_tree
    from harness.cli.case import app as case

    commands = {c.name or c.callback.__name__ for c in command_tree().registered_commands if c.callback}
    commands |= {f"case {c.name or c.callback.__name__}" for c in case.registered_commands if c.callback}
    assert set(KEPT) <= commands
