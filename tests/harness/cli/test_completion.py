"""A shell that asks what could come next is told commands and options."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]


def asked(words: str) -> list[str]:
    """What bash is told for the last of these words."""
    env = os.environ | {
        "COMP_WORDS": words, "COMP_CWORD": str(words.count(" ")), "_TRUELINE_COMPLETE": "complete_bash",
        "PYTHONPATH": str(ROOT),
    }  # fmt: skip
    result = subprocess.run(
        [sys.executable, "-m", "harness.cli"], env=env, capture_output=True, text=True, check=False, cwd=ROOT
    )
    assert result.stderr == ""
    return result.stdout.split()


@pytest.mark.parametrize(("words", "told"), [
    ("trueline mo", ["model"]),
    ("trueline case ch", ["check"]),
    ("trueline gate --poli", ["--policy"]),
])  # fmt: skip
def test_a_shell_is_told_what_could_come_next(words: str, told: list[str]) -> None:
    assert asked(words) == told


@pytest.mark.parametrize("option", ["--show-completion", "--install-completion"])
def test_completion_is_installed_and_that_is_no_bug(tmp_path: Path, option: str) -> None:
    """The library ends the process where it is done; that once passed for a bug of ours."""
    env = os.environ | {"HOME": str(tmp_path), "PYTHONPATH": str(ROOT)}
    line = f"{sys.executable} -m harness.cli {option}; exit $?"  # two commands: the shell stays our parent
    result = subprocess.run(["bash", "-c", line], env=env, capture_output=True, text=True, check=False, cwd=ROOT)
    assert (result.returncode, result.stderr) == (0, "")
    assert "completion" in result.stdout
